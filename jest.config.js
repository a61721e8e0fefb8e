export default {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2023', parser: { syntax: 'typescript' } }, module: { type: 'es6' } },
    ],
  },
  setupFiles: ['<rootDir>/test/support/same-realm.ts'],
  setupFilesAfterEnv: ['<rootDir>/test/support/array-lengths.ts'],
  testTimeout: 120000,
  // Most of a suite is waiting for services: on two cores three workers took three quarters of the time of two.
  maxWorkers: 3,
};

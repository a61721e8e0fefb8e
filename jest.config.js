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
  // Most of a suite is waiting for services: on two cores three take 740 to 770 s, two took 880 for fewer tests.
  maxWorkers: 3,
};

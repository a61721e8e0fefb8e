import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

/** `npm run build`: compiles the sources to dist/ for the published package, with the Lua scripts beside. */
const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');
rmSync(dist, { recursive: true, force: true });
const compiler = createRequire(import.meta.url)
  .resolve('typescript/package.json')
  .replace(/package\.json$/, 'bin/tsc');
execFileSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
for (const file of readdirSync(join(root, 'features', 'redis')).filter((name) => name.endsWith('.lua'))) {
  cpSync(join(root, 'features', 'redis', file), join(dist, 'features', 'redis', file));
}
cpSync(join(root, 'examples'), join(dist, 'examples'), { recursive: true });
chmodSync(join(dist, 'cli', 'weir.js'), 0o755);

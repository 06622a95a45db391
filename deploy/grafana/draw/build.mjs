// node build.mjs NODE_MODULES OUTPUT: everything into one script, which a page loads from a file.
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const [modules, outfile] = process.argv.slice(2);
const { build } = createRequire(pathToFileURL(join(modules, 'x')))('esbuild');

await build({
  entryPoints: [join(dirname(fileURLToPath(import.meta.url)), 'page.jsx')],
  outfile,
  bundle: true,
  format: 'esm',
  target: 'chrome120',
  jsx: 'automatic',
  minify: true,
  logLevel: 'error',
  nodePaths: [modules],
  // The icons are not among what the package exports.
  alias: { '@grafana/ui/dist': join(modules, '@grafana/ui/dist') },
  loader: { '.svg': 'text', '.ttf': 'empty', '.woff': 'empty', '.woff2': 'empty' },
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
});

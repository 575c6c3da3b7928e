import commonjs from '@rollup/plugin-commonjs';
import { nodeResolve } from '@rollup/plugin-node-resolve';

export default { input: 'serve.js', output: { file: 'dist/rollup.mjs' }, plugins: [nodeResolve({ preferBuiltins: true }), commonjs()] };

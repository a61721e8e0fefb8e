import { deserialize, serialize } from 'node:v8';

// jest runs each test file in a context of its own, whose Float32Array is another than the one that native modules make. The ONNX
// runtime takes tensors of its own only, so the tests use that one too. What node:v8 makes is outside of the context.
globalThis.Float32Array = deserialize(serialize(new Float32Array(1))).constructor;

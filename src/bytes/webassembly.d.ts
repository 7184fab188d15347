/** The part of WebAssembly that the decoders use; Node 20's types leave it to the DOM's. */
declare namespace WebAssembly {
  type Module = object;
  interface Memory {
    readonly buffer: ArrayBuffer;
  }
  interface Instance {
    readonly exports: unknown;
  }
  interface WebAssemblyInstantiatedSource {
    readonly module: Module;
    readonly instance: Instance;
  }
  function instantiate(module: Module, imports: object): Promise<Instance>;
}

// shim
export async function readBuildCache(): Promise<null> {
  return null;
}

// shim
export async function readVolumeRecords(
  ..._: unknown[]
): Promise<Map<string, { driver: string; labels: Record<string, string>; options: Record<string, string> }>> {
  return new Map();
}

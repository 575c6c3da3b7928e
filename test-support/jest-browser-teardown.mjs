export default async function teardown() {
  await globalThis.sharedChromium?.close();
}

export default async function teardown() {
  await Promise.all(globalThis.sharedChromium?.map((browser) => browser.close()) ?? []);
}

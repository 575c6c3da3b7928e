'use strict';

// npm start.

const { once } = require('node:events');
const path = require('node:path');
const { freeTcpPorts, launch, untilReady } = require('../../../test-support/processes.js');
const { START_MS, STORY_MS } = require('../support/use-app.js');
const { Visitor } = require('../support/visitor.js');

const SCRIPT = path.join(__dirname, '../../../scripts/start.mjs');

/** @param {import('../support/use-app.js').Browsers} browsers @param {import('../../../test-support/example-server.js').Name} name */
function describeStart(browsers, name) {
  it('npm start prints two URLs with which two tabs of one browser join a call, and ends after SIGINT', async () => {
    const [port] = await freeTcpPorts(1);
    const started = launch(process.execPath, [SCRIPT, name], { PORT: String(port) });
    const { child, logs, stop } = started;
    try {
      await untilReady(started, async () => logs().includes('Ctrl-C ends it'), START_MS);
      const [first, second] = logs().match(/http:\/\/[\w.]+:\d+/g) ?? [];
      expect(new URL(first).host).not.toBe(new URL(second).host);
      const ann = await Visitor.open(browsers.chromium, 'Ann', { url: first, logs });
      await ann.signIn();
      await ann.join('any');
      const ben = await ann.openTab();
      Object.assign(ben, { name: 'Ben', app: { url: second, logs } });
      await ben.signIn();
      await ben.join('any');
      await ben.receivesVideoOf('Ann');
      await ann.hasParticipants('Ann (you)', 'Ben');
      await ann.close();
      const ended = once(child, 'close');
      child.kill('SIGINT');
      expect(await ended).toEqual([0, null]);
    } finally {
      await stop();
    }
  }, STORY_MS);
}

module.exports = { describeStart };

'use strict';

// What a newcomer does first.

const { once } = require('node:events');
const path = require('node:path');
const { freeTcpPorts, launch, untilReady } = require('../../../test-support/processes.js');
const { START_MS, STORY_MS } = require('../support/house.js');
const { Visitor } = require('../support/visitor.js');

const SCRIPT = path.join(__dirname, '../../../scripts/start.mjs');

/** @param {import('../support/house.js').Browsers} browsers @param {import('../../../test-support/example-server.js').Name} name */
function describeStart(browsers, name) {
  it('npm start prints two addresses of which two tabs of one browser are in a call, and ends with Ctrl-C', async () => {
    const [port] = await freeTcpPorts(1);
    const started = launch(process.execPath, [SCRIPT, name], { PORT: String(port) });
    const { child, logs, stop } = started;
    try {
      await untilReady(started, async () => logs().includes('Ctrl-C ends it'), START_MS);
      const [first, second] = logs().match(/http:\/\/[\w.]+:\d+/g) ?? [];
      expect(new URL(first).host).not.toBe(new URL(second).host);
      const ann = await Visitor.arrives(browsers.chromium, 'Ann', { url: first, logs });
      await ann.signsIn();
      await ann.joins('any');
      const ben = await ann.opensAnotherTab();
      Object.assign(ben, { name: 'Ben', app: { url: second, logs } });
      await ben.signsIn();
      await ben.joins('any');
      await ben.seesVideoOf('Ann');
      await ann.seesPeople('Ann (you)', 'Ben');
      await ann.goes();
      const ended = once(child, 'close');
      child.kill('SIGINT');
      expect(await ended).toEqual([0, null]);
    } finally {
      await stop();
    }
  }, STORY_MS);
}

module.exports = { describeStart };

'use strict';

// The deviations that participants meet; requests.test.js looks after the others.

const { readFileSync, readdirSync } = require('node:fs');
const path = require('node:path');
const { experiences } = require('./deviations.js');

const folders = ['sessions', 'browsers'].map((name) => path.join(__dirname, name));
const files = folders.flatMap((folder) => readdirSync(folder).map((file) => path.join(folder, file)));
const code = files.map((file) => readFileSync(file, 'utf8')).join('\n');

test('each experience that differs is met by a test', () => {
  const all = Object.entries(experiences).flatMap(([experience, { cases }]) => Object.keys(cases).map((which) => [experience, which]));
  expect(all.filter(([experience, which]) => !code.includes(`experienceOf('${experience}', '${which}', `))).toEqual([]);
});

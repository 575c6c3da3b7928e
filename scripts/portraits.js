'use strict';
// Who sits in front of the cameras in the README's pictures: drawn, so that nobody's face is used. Sent into a page as text.

/**
 * @typedef {object} Portrait
 * @property {[string, string]} wall From the light to the shade.
 * @property {string} skin
 * @property {string} hair
 * @property {'short' | 'long' | 'bun' | 'curly'} cut
 * @property {string} cloth
 * @property {'window' | 'shelf' | 'plant' | 'lamp'} behind
 * @property {boolean} [glasses]
 * @property {number} [lean] How far from the middle, in hundredths of the width.
 */

/**
 * Draws one, and gives its pixels.
 * @param {Portrait} portrait @param {number} width @param {number} height @param {number} breath -1 to 1: nobody sits quite still.
 */
function draw(portrait, width, height, breath) {
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  const context = canvas.getContext('2d');
  // All sizes below are for a picture of 1600 by 900.
  context.scale(width / 1600, height / 900);
  const { wall, skin, hair, cut, cloth, behind, glasses, lean = 0 } = portrait;

  const mix = (colour, other, share) => {
    const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    const [a, b] = [channels(colour), channels(other)];
    return `rgb(${a.map((value, index) => Math.round(value + (b[index] - value) * share)).join()})`;
  };
  const darker = (colour, share) => mix(colour, '#1b1420', share);
  const lighter = (colour, share) => mix(colour, '#ffffff', share);
  const fade = (from, to, ...line) => {
    const gradient = context.createLinearGradient(...line);
    gradient.addColorStop(0, from);
    gradient.addColorStop(1, to);
    return gradient;
  };
  /** A light without an edge. */
  const glow = (colour, x, y, radius) => {
    const gradient = context.createRadialGradient(x, y, 0, x, y, radius);
    gradient.addColorStop(0, colour);
    gradient.addColorStop(1, 'rgb(255 255 255 / 0)');
    context.fillStyle = gradient;
    context.fillRect(0, 0, 1600, 900);
  };
  const fill = (style, path) => {
    context.fillStyle = style;
    context.beginPath();
    path();
    context.fill();
  };
  const oval = (style, x, y, rx, ry, turn = 0) => fill(style, () => context.ellipse(x, y, rx, ry, turn, 0, 7));
  const box = (style, x, y, w, h, radius = 12) => fill(style, () => context.roundRect(x, y, w, h, radius));

  // The room, out of focus.
  context.fillStyle = fade(wall[0], wall[1], 0, 0, 1600, 900);
  context.fillRect(0, 0, 1600, 900);
  context.filter = `blur(${(14 * width) / 1600}px)`;
  if (behind === 'window') {
    box(lighter(wall[0], 0.55), 130, 60, 330, 480);
    box(wall[1], 288, 60, 14, 480, 0);
    box(wall[1], 130, 290, 330, 14, 0);
    glow('rgb(255 255 255 / 0.6)', 330, 260, 620);
  } else if (behind === 'shelf') {
    for (const [y, ...widths] of [[190, 38, 26, 44, 30, 52], [430, 50, 30, 28, 46, 34]]) {
      let x = 1120;
      for (const [index, w] of widths.entries()) {
        const tall = 110 + ((index * 37) % 50);
        box(mix(wall[1], ['#e8b04a', '#d96c5f', '#5fa8a0', '#f1e3cf', '#7a6fb0'][index], 0.6), x, y - tall, w, tall, 4);
        x += w + 8;
      }
      box(darker(wall[1], 0.25), 1080, y, 400, 18, 4);
    }
  } else if (behind === 'plant') {
    for (const [x, y, turn] of [[1330, 420, 0.5], [1250, 380, -0.5], [1300, 330, 0], [1390, 480, 1], [1200, 470, -1]]) {
      oval(mix('#4f8a5b', wall[1], 0.2), x, y, 46, 150, turn);
    }
    box(lighter(wall[1], 0.3), 1235, 530, 130, 150, 24);
  } else {
    glow('rgb(255 222 160 / 0.85)', 300, 240, 560);
    box('#ffe9c0', 215, 170, 170, 120, 40);
    box(darker(wall[1], 0.3), 294, 290, 12, 330, 4);
  }
  context.filter = 'none';

  // Somebody in it.
  context.translate(lean * 16, breath * 5);
  const shade = darker(skin, 0.22);
  if (cut === 'long') fill(darker(hair, 0.18), () => context.roundRect(575, 200, 450, 560, 200));
  if (cut === 'bun') oval(darker(hair, 0.12), 800, 118, 92, 84);
  fill(fade(lighter(cloth, 0.08), darker(cloth, 0.28), 800, 640, 800, 920), () => {
    context.moveTo(380, 930);
    context.bezierCurveTo(395, 730, 560, 700, 690, 660);
    context.lineTo(910, 660);
    context.bezierCurveTo(1040, 700, 1205, 730, 1220, 930);
  });
  fill(shade, () => {
    context.moveTo(706, 560);
    context.lineTo(894, 560);
    context.bezierCurveTo(890, 640, 908, 660, 920, 668);
    context.bezierCurveTo(880, 742, 720, 742, 680, 668);
    context.bezierCurveTo(692, 660, 710, 640, 706, 560);
  });
  for (const x of [606, 994]) oval(darker(skin, 0.1), x, 410, 32, 48);
  fill(fade(lighter(skin, 0.06), darker(skin, 0.08), 640, 200, 980, 640), () => {
    context.moveTo(608, 350);
    context.bezierCurveTo(600, 170, 1000, 170, 992, 350);
    context.bezierCurveTo(996, 500, 930, 636, 800, 636);
    context.bezierCurveTo(670, 636, 604, 500, 608, 350);
  });
  for (const x of [680, 920]) oval('rgb(214 84 84 / 0.13)', x, 482, 52, 36);
  for (const [x, side] of [[722, -1], [878, 1]]) {
    oval('#2a1f25', x, 402, 15, 19);
    oval('#ffffff', x + 5, 395, 5, 6);
    context.strokeStyle = darker(hair, 0.2);
    context.lineWidth = 13;
    context.lineCap = 'round';
    context.beginPath();
    context.moveTo(x - 36, 348 + (side < 0 ? 6 : 0));
    context.quadraticCurveTo(x, 330, x + 36, 348 + (side > 0 ? 6 : 0));
    context.stroke();
  }
  context.strokeStyle = shade;
  context.lineWidth = 9;
  context.beginPath();
  context.moveTo(804, 416);
  context.quadraticCurveTo(826, 470, 790, 474);
  context.stroke();
  fill('#8c3b3b', () => {
    context.moveTo(732, 528);
    context.quadraticCurveTo(800, 546, 868, 528);
    context.quadraticCurveTo(850, 590, 800, 590);
    context.quadraticCurveTo(750, 590, 732, 528);
  });
  fill('#fffaf5', () => {
    context.moveTo(744, 531);
    context.quadraticCurveTo(800, 546, 856, 531);
    context.quadraticCurveTo(850, 556, 800, 558);
    context.quadraticCurveTo(752, 556, 744, 531);
  });
  if (glasses) {
    context.strokeStyle = '#2f2a33';
    context.lineWidth = 10;
    context.beginPath();
    context.roundRect(654, 356, 128, 96, 40);
    context.roundRect(818, 356, 128, 96, 40);
    context.moveTo(782, 396);
    context.quadraticCurveTo(800, 386, 818, 396);
    context.stroke();
  }
  const top = fade(lighter(hair, 0.14), darker(hair, 0.1), 640, 130, 980, 420);
  if (cut === 'curly') {
    for (const [x, y, r] of [[610, 330, 66], [622, 250, 78], [690, 180, 90], [800, 150, 104], [910, 180, 90], [978, 250, 78], [990, 330, 66]]) oval(top, x, y, r, r);
  } else {
    const low = cut === 'short' ? 350 : 440;
    fill(top, () => {
      context.moveTo(596, low);
      context.bezierCurveTo(570, 90, 1030, 90, 1004, low);
      context.bezierCurveTo(985, 330, 972, 300, 930, 262);
      context.bezierCurveTo(850, 300, 740, 280, 690, 250);
      context.bezierCurveTo(640, 290, 622, 320, 596, low);
    });
  }
  return canvas.getContext('2d').getImageData(0, 0, width, height).data;
}

/** @type {Record<string, Portrait>} */
const portraits = {
  Ada: { wall: ['#f4d9c6', '#d79f86'], skin: '#f0c3a0', hair: '#6b3a2a', cut: 'long', cloth: '#2f6f73', behind: 'window', lean: 1 },
  Mateo: { wall: ['#cfe0e8', '#7f9fb3'], skin: '#c98d62', hair: '#2b2024', cut: 'short', cloth: '#f0ece4', behind: 'shelf', lean: -3 },
  Noor: { wall: ['#e6e3f3', '#9b93c4'], skin: '#a86f48', hair: '#1f171b', cut: 'bun', cloth: '#d98a3d', behind: 'plant', glasses: true, lean: -2 },
  Jonas: { wall: ['#dfe8d6', '#8aa583'], skin: '#7a4a30', hair: '#17120f', cut: 'curly', cloth: '#3d4c8a', behind: 'lamp', lean: 2 },
};

module.exports = { draw, portraits };

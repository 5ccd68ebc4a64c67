// Draws the avatars of this folder, always the same ones:
//
//     npm ci
//     node draw.mjs OUT [COUNT] [SCALE] [TRANSLATE_Y]
//
// writes OUT.rgb (COUNT pictures of 64 x 64 RGB bytes, one after the other) and
// OUT.json (for every attribute its values, and for every picture the value's index).
// The first pictures of a long run are the pictures of a short one.
import fs from 'node:fs';
import { createHash } from 'node:crypto';
import { createAvatar } from '@dicebear/core';
import * as toonHead from '@dicebear/toon-head';
import { Resvg } from '@resvg/resvg-js';

const SEED = 2014; // the year of the first GAN
const SIZE = 64;
const OVERSAMPLING = 4; // drawn at 256 px, then averaged over boxes of 4 x 4

// Every attribute: [value, weight] pairs. "none" leaves the part out.
const even = (...values) => values.map((value) => [value, 1]);
const ATTRIBUTES = {
  hair: even('sideComed', 'undercut', 'spiky', 'bun'),
  hairColor: [
    ['2c1b18', 4], ['a55728', 4], ['b58143', 4], ['d6b370', 4], ['724133', 4], // the style's own
    ['9a9a9a', 3], ['d9698f', 1], ['4a7fc1', 1], // grey, pink, blue
  ],
  rearHair: [['none', 4], ['longStraight', 1], ['longWavy', 1], ['shoulderHigh', 1], ['neckHigh', 1]],
  skinColor: even('f1c3a5', 'c68e7a', 'b98e6a', 'a36b4f', '7d5443'),
  clothes: even('turtleNeck', 'openJacket', 'dress', 'shirt', 'tShirt'),
  clothesColor: even(
    '545454', 'b11f1f', '0b3286', '147f3c', 'eab308',
    '731ac3', 'ec4899', 'f97316', '151613', 'e8e9e6',
  ),
  eyes: even('happy', 'wide', 'bow', 'humble', 'wink'),
  mouth: even('laugh', 'angry', 'agape', 'smile', 'sad'),
  eyebrows: even('raised', 'angry', 'happy', 'sad', 'neutral'),
  beard: [
    ['none', 15],
    ['moustacheTwirl', 1], ['fullBeard', 1], ['chin', 1], ['chinMoustache', 1], ['longBeard', 1],
  ],
  backgroundColor: even('b6e3f4', 'c0aede', 'd1d4f9', 'ffd5dc', 'ffdfbf', 'cfe8cf'),
};
const OPTIONAL = ['hair', 'rearHair', 'beard']; // parts with a probability in the style

// mulberry32 (Tommy Ettinger, public domain): 32 random bits a call, integers only.
function mulberry32(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
}

// An index into `pairs`, by weight.
function choose(pairs, random) {
  const total = pairs.reduce((sum, [, weight]) => sum + weight, 0);
  let rest = random() % total;
  return pairs.findIndex(([, weight]) => (rest -= weight) < 0);
}

function options(choice, framing) {
  const result = { seed: 'latent-lab', ...framing };
  for (const [name, pairs] of Object.entries(ATTRIBUTES)) {
    const value = pairs[choice[name]][0];
    if (OPTIONAL.includes(name)) result[`${name}Probability`] = value === 'none' ? 0 : 100;
    if (value !== 'none') result[name] = [value];
  }
  return result;
}

// SVG text -> SIZE x SIZE RGB bytes.
function rasterise(svg) {
  const side = SIZE * OVERSAMPLING;
  const image = new Resvg(svg, {
    fitTo: { mode: 'width', value: side },
    font: { loadSystemFonts: false }, // there is no text, and looking for fonts takes longest
  }).render();
  const source = image.pixels; // RGBA, opaque
  const out = Buffer.alloc(SIZE * SIZE * 3);
  const area = OVERSAMPLING * OVERSAMPLING;
  for (let y = 0; y < SIZE; y++) for (let x = 0; x < SIZE; x++) for (let c = 0; c < 3; c++) {
    let sum = area >> 1;
    for (let dy = 0; dy < OVERSAMPLING; dy++) for (let dx = 0; dx < OVERSAMPLING; dx++) {
      sum += source[((y * OVERSAMPLING + dy) * side + x * OVERSAMPLING + dx) * 4 + c];
    }
    out[(y * SIZE + x) * 3 + c] = Math.floor(sum / area);
  }
  return out;
}

function draw(path, count, framing) {
  const random = mulberry32(SEED);
  const names = Object.keys(ATTRIBUTES);
  const seen = new Set(); // attribute tuples and pixel hashes: no picture comes twice
  const rows = [];
  const file = fs.openSync(`${path}.rgb`, 'w');
  while (rows.length < count) {
    const choice = Object.fromEntries(names.map((name) => [name, choose(ATTRIBUTES[name], random)]));
    const row = names.map((name) => choice[name]);
    if (seen.has(row.join())) continue;
    const pixels = rasterise(createAvatar(toonHead, options(choice, framing)).toString());
    const hash = createHash('sha256').update(pixels).digest('base64');
    if (seen.has(hash)) continue;
    seen.add(row.join()).add(hash);
    fs.writeSync(file, pixels);
    rows.push(row);
    if (rows.length % 2000 === 0) console.log(`${rows.length} of ${count}`);
  }
  fs.closeSync(file);
  const values = Object.fromEntries(names.map((n) => [n, ATTRIBUTES[n].map(([value]) => value)]));
  fs.writeFileSync(`${path}.json`, JSON.stringify({ values, rows }));
}

const [path = 'avatars', count = '24000', scale = '118', translateY = '3'] = process.argv.slice(2);
draw(path, Number(count), { scale: Number(scale), translateY: Number(translateY) });

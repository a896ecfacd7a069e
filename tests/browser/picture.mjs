// Pictures of the pages: drawn so that two machines draw the same, kept small, compared without looking at glyphs.
//
// What is different on each run is made equal in the page before the picture is taken (`still`): every time, every
// number, every colour of a chart stays where it is, but says the same. What remains are differences in how a machine
// draws letters: hinting, the version of FreeType, rounding of a line's height. So squares of 8 by 8 points are
// compared by their mean colour, and a few of them may differ, here and there. A box that moved, a line that wrapped or a
// colour that changed are more than a few; what is small and gone, such as a button, is a clump of them.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { deflateSync, crc32 as nodeCrc32 } from 'node:zlib';

const SQUARE = 8;
/** How far the mean of a square may be off, of 255, in any of red, green and blue. */
const COLOUR_OFF_MAX = 24;
/** How many of a hundred squares may be off. */
const SQUARES_OFF_MAX = 0.7;
/** So many by so many squares that are all off are no accident. */
const CLUMP = 3;
/** A page may be so much higher or lower, of a hundred. */
const HEIGHT_OFF_MAX = 2;
/** Below this a page is cut off: what a list looks like is seen in its first rows. */
export const HEIGHT_MAX = 2200;
const COLOURS = 48;

/** Runs in the page: what differs between two runs says the same afterwards. */
export function still(hostname) {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const text = texts.currentNode;
        if (text.parentElement.closest('script, style, textarea')) continue;
        if (text.parentElement.closest('footer')) text.data = text.data.replaceAll(hostname, 'pi');
        text.data = text.data.replace(/\d+(?:[.,:\u202f]\d+)*/g, '0');
    }
    for (const time of document.querySelectorAll('time')) time.textContent = '12:34';
    for (const element of document.querySelectorAll('[data-volatile]')) {
        if (!element.children.length) element.textContent = '0';
    }
}

// ---- PNG with a palette: a third of the bytes of what a browser writes -------------------------------------------------

function crc32(bytes) {
    if (nodeCrc32) return nodeCrc32(bytes);
    let crc = ~0;
    for (const byte of bytes) {
        crc ^= byte;
        for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc >>> 0;
}

function chunk(name, data) {
    const named = Buffer.concat([Buffer.from(name, 'latin1'), data]);
    const whole = Buffer.alloc(named.length + 8);
    whole.writeUInt32BE(data.length, 0);
    named.copy(whole, 4);
    whole.writeUInt32BE(crc32(named), named.length + 4);
    return whole;
}

/** `image` is what pngjs reads: width, height, RGBA. */
function encode({ width, height, data }) {
    const counts = new Map();
    const key = (at) => ((data[at] >> 3) << 10) | ((data[at + 1] >> 3) << 5) | (data[at + 2] >> 3);
    for (let at = 0; at < data.length; at += 4) {
        const found = counts.get(key(at));
        if (found) found.count += 1;
        else counts.set(key(at), { count: 1, colour: [data[at], data[at + 1], data[at + 2]] });
    }
    // Not the most frequent ones: a lamp is small, and its colour is what matters. One after the other the colour that is
    // worst off comes in.
    const palette = [];
    const entries = [...counts.values()].map((entry) => ({ ...entry, weight: Math.sqrt(entry.count), off: Infinity, place: 0 }));
    for (let place = 0; place < Math.min(COLOURS, entries.length); place += 1) {
        const loss = ({ weight, off }) => (place ? weight * off : weight);
        const { colour } = entries.reduce((worst, entry) => (loss(entry) > loss(worst) ? entry : worst));
        palette.push(colour);
        for (const entry of entries) {
            const off = colour.reduce((sum, part, at) => sum + (part - entry.colour[at]) ** 2, 0);
            if (off < entry.off) [entry.off, entry.place] = [off, place];
        }
    }
    const nearest = new Map([...counts.keys()].map((code, at) => [code, entries[at].place]));
    const rows = Buffer.alloc((width + 1) * height);
    for (let y = 0; y < height; y += 1) {
        for (let x = 0; x < width; x += 1) rows[y * (width + 1) + 1 + x] = nearest.get(key((y * width + x) * 4));
    }
    const head = Buffer.alloc(13);
    head.writeUInt32BE(width, 0);
    head.writeUInt32BE(height, 4);
    head.set([8, 3, 0, 0, 0], 8);
    return Buffer.concat([
        Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
        chunk('IHDR', head),
        chunk('PLTE', Buffer.from(palette.flat())),
        chunk('IDAT', deflateSync(rows, { level: 9 })),
        chunk('IEND', Buffer.alloc(0)),
    ]);
}

// ---- comparing -------------------------------------------------------------------------------------------------------

function squares({ width, height, data }) {
    const across = Math.ceil(width / SQUARE);
    const down = Math.ceil(height / SQUARE);
    const means = new Float32Array(across * down * 3);
    const sizes = new Uint32Array(across * down);
    for (let y = 0; y < height; y += 1) {
        for (let x = 0; x < width; x += 1) {
            const square = Math.floor(y / SQUARE) * across + Math.floor(x / SQUARE);
            const at = (y * width + x) * 4;
            sizes[square] += 1;
            for (let part = 0; part < 3; part += 1) means[square * 3 + part] += data[at + part];
        }
    }
    return { across, down, means: means.map((sum, at) => sum / sizes[Math.floor(at / 3)]) };
}

/** How many of a hundred squares are off, and in words why that is too much, where it is. */
function compare(before, now) {
    if (before.width !== now.width) return { why: `${now.width} points wide instead of ${before.width}` };
    const higher = (Math.abs(now.height - before.height) / before.height) * 100;
    if (higher > HEIGHT_OFF_MAX) return { why: `${now.height} points high instead of ${before.height}` };
    const [a, b] = [squares(before), squares(now)];
    const { across } = a;
    const down = Math.min(a.down, b.down);
    const isOff = (square) => [0, 1, 2].some((part) => Math.abs(a.means[square * 3 + part] - b.means[square * 3 + part]) > COLOUR_OFF_MAX);
    const off = Uint8Array.from({ length: across * down }, (_, square) => isOff(square));
    const share = (off.reduce((sum, one) => sum + one, 0) / off.length) * 100;
    if (share > SQUARES_OFF_MAX) return { share, why: `${share.toFixed(1)} % of it differ` };
    const range = [...Array(CLUMP).keys()];
    const clump = off.findIndex((_, square) => square % across <= across - CLUMP && range.every((y) => range.every((x) => off[square + y * across + x])));
    if (clump < 0) return { share };
    return { share, why: `it differs at ${(clump % across) * SQUARE},${Math.floor(clump / across) * SQUARE}` };
}

export class Album {
    /** `PNG` is pngjs'; `reference` and `fresh` are folders. */
    constructor(PNG, reference, fresh, accept) {
        Object.assign(this, { PNG, reference, fresh, accept });
        this.taken = [];
        this.most = 0;
    }

    /** Nothing when the picture is as it was or is taken as the new reference; else how it differs. */
    judge(name, png) {
        this.taken.push(`${name}.png`);
        const small = encode(this.PNG.sync.read(png));
        const [kept, fresh] = [`${this.reference}/${name}.png`, `${this.fresh}/${name}.png`];
        const { share = 0, why } = existsSync(kept)
            ? compare(this.PNG.sync.read(readFileSync(kept)), this.PNG.sync.read(small))
            : { why: 'there is no reference picture' };
        this.most = Math.max(this.most, share);
        // What is accepted is accepted whole, so that small differences do not add up.
        if (!why && !(this.accept && share > 0)) return undefined;
        const path = this.accept ? kept : fresh;
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, small);
        return this.accept ? undefined : `${name}: ${why}`;
    }
}

// Judges the panel in a browser: scripts/test-browser. One line for each check; exit 1 when one fails.

import { createRequire } from 'node:module';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { checks } from './checks.mjs';
import { launch } from './chrome.mjs';
import { STORY, RULES, guid } from './fixtures.mjs';
import { Hookbell, until } from './hookbell.mjs';
import { Album } from './picture.mjs';
import { hands } from './hands.mjs';
import { hostile } from './hostile.mjs';
import { live } from './live.mjs';
import { plain } from './plain.mjs';
import { speed } from './speed.mjs';
import { views } from './views.mjs';

const { values: given } = parseArgs({
    options: {
        binary: { type: 'string' }, modules: { type: 'string' }, work: { type: 'string' }, chromium: { type: 'string' },
        accept: { type: 'boolean', default: false }, headed: { type: 'boolean', default: false }, only: { type: 'string', multiple: true },
    },
});
const need = createRequire(join(given.modules, 'node_modules', 'x'));
const { chromium } = need('playwright-core');
const { PNG } = need('pngjs');

const here = new URL('.', import.meta.url).pathname;
const fresh = join(given.work, 'pictures');
rmSync(fresh, { recursive: true, force: true });
mkdirSync(fresh, { recursive: true });

const started = Date.now();
const { check, tally } = checks();

let browser;
let home;
let guarded;
try {
    [browser, home, guarded] = await Promise.all([
        launch(chromium, given.chromium, given.work, given.headed),
        // Slack is later than the desk, so that what happened is always told in one order.
        Hookbell.start(given.binary, { rules: RULES, slackMs: 60 }),
        Hookbell.start(given.binary, { token: 'a token for the panel' }),
    ]);
    for (const [index, [event, body]] of STORY.entries()) {
        const { status } = await home.post(event, guid(index + 1), body);
        if (status !== 200) throw new Error(`the door answered ${status} to ${event}`);
        await home.settle();
    }
    await check('the headline knows of what came in', () =>
        until('health of all deliveries', async () => (await home.api('health')).window.deliveries === STORY.length, 5000).then(() => undefined));
    const world = {
        browser, home, guarded, check, axe: need('axe-core'), accept: given.accept,
        album: new Album(PNG, join(here, 'reference'), fresh, given.accept), token: 'a token for the panel',
    };
    // The pictures come first, of what the story left; whatever changes the lists comes later, the worst last.
    for (const [name, part] of Object.entries({ views, live, hands, plain, speed, hostile })) {
        if (!given.only || given.only.includes(name)) await part(world);
    }
    await check('both services end in peace', async () => {
        for (const service of [home, guarded]) {
            if (service.service.ended) throw new Error(`it has ended already:\n${service.service.lines.slice(-10).join('\n')}`);
            const loud = service.service.lines.filter((line) => /panicked|level=error|^ERROR/i.test(line));
            if (loud.length) throw new Error(loud.slice(0, 5).join('\n'));
            const code = await service.stop();
            if (code !== 0) throw new Error(`exit ${code}`);
        }
    });
} catch (error) {
    tally.failed += 1;
    console.log(`FAILED  ${error.stack ?? error}`);
} finally {
    await browser?.close();
    await home?.stop();
    await guarded?.stop();
}
console.log(`panel in a browser: ${((Date.now() - started) / 1000).toFixed(0)} s`);
console.log(`${tally.passed} passed, ${tally.failed} failed`);
process.exitCode = tally.failed ? 1 : 0;

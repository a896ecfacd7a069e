// How soon a page can be read: reported, not judged, because it is this machine's answer and not a Pi's.

import { PHONE, visit } from './chrome.mjs';
import { MERGE } from './fixtures.mjs';

export async function speed({ browser, home, check }) {
    const visitor = await visit(browser, home.panel, { size: PHONE });
    await check('how soon a page is usable (first byte / read / loaded, ms; not judged)', async () => {
        const lines = [];
        for (const path of ['/', '/deliveries', `/deliveries/${MERGE}`, '/flow', '/setup']) {
            const runs = [];
            for (let number = 0; number < 3; number += 1) {
                await visitor.page.goto(home.panel + path, { waitUntil: 'load' });
                runs.push(await visitor.page.evaluate(() => {
                    const [entry] = performance.getEntriesByType('navigation');
                    const bytes = performance.getEntriesByType('resource').reduce((sum, one) => sum + one.transferSize, entry.transferSize);
                    return [entry.responseStart, entry.domContentLoadedEventEnd, entry.loadEventEnd, bytes].map(Math.round);
                }));
            }
            const [first, ready, loaded, bytes] = runs.sort((a, b) => a[1] - b[1])[1];
            lines.push(`${path} ${first}/${ready}/${loaded} (${(bytes / 1024).toFixed(0)} KiB)`);
        }
        return lines.join(', ');
    });
    await visitor.close();
}

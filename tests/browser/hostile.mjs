// Deliveries that would be more than text: no page takes them for markup, none breaks, none runs.

import { PHONE, nothing, tooWide, visit } from './chrome.mjs';
import { HOSTILE, UNSHOWABLE, guid } from './fixtures.mjs';
import { until } from './hookbell.mjs';

const SLOW_MS = 5000;

/** Runs in the page: whatever a payload has broken out to. */
function brokenOut() {
    const found = [];
    if (window.broken !== undefined) found.push(`a script of the payload has run: ${window.broken}`);
    for (const element of document.querySelectorAll('*')) {
        for (const { name, value } of element.attributes) {
            if (name.startsWith('on') || name === 'style' || name === 'srcdoc') found.push(`<${element.localName} ${name}>`);
            if (['href', 'src', 'action', 'formaction'].includes(name) && /^\s*(javascript|data|vbscript):/i.test(value)) found.push(`<${element.localName} ${name}="${value.slice(0, 40)}">`);
        }
        if (['iframe', 'object', 'embed', 'base', 'style'].includes(element.localName)) found.push(`<${element.localName}>`);
        if (element.localName === 'script' && !element.getAttribute('src')?.startsWith('/assets/')) found.push('<script>');
        if (element.localName === 'meta' && element.httpEquiv) found.push('<meta http-equiv>');
    }
    for (const link of document.querySelectorAll('a[href^="http"]')) {
        if (link.origin !== location.origin && !/noreferrer/.test(link.rel)) found.push(`a link without noreferrer to ${link.href.slice(0, 60)}`);
    }
    if (document.querySelectorAll('main').length !== 1) found.push(`${document.querySelectorAll('main').length} main elements`);
    if (!document.querySelector('nav a[href="/setup"]')) found.push('the navigation is gone');
    return found.slice(0, 5);
}

export async function hostile({ browser, home, check }) {
    const sent = [];
    await check('hostile deliveries are accepted at the door', async () => {
        for (const [index, [name, event, body, headers]] of HOSTILE.entries()) {
            // Node refuses what is no header value before the door can.
            const answer = await home.post(event, guid(900 + index), body, { headers });
            if (answer.status !== 200) throw new Error(`${name}: the door answered ${answer.status}`);
            sent.push([name, answer.id]);
        }
        await until('all of them routed', async () => (await home.api('deliveries?status=pending&limit=1')).deliveries.length === 0, 20_000, 100);
        return `${sent.length} of them`;
    });
    for (const javaScriptEnabled of [true, false]) {
        const visitor = await visit(browser, home.panel, { size: PHONE, javaScriptEnabled, expect: [/status of 4\d\d/] });
        const { page } = visitor;
        const judge = async (path, { limit = SLOW_MS } = {}) => {
            const since = Date.now();
            const response = await page.goto(home.panel + path, { waitUntil: 'load', timeout: 30_000 });
            const took = Date.now() - since;
            if (![200, 400, 404, 422].includes(response.status())) throw new Error(`${path} answered ${response.status()}`);
            const found = await page.evaluate(brokenOut);
            found.push(...(await page.evaluate(tooWide)));
            const text = await page.evaluate(() => document.body.textContent);
            const raw = text.match(UNSHOWABLE);
            if (raw) found.push(`U+${raw[0].codePointAt(0).toString(16).padStart(4, '0')} is shown as it is, after ${JSON.stringify(text.slice(Math.max(0, raw.index - 30), raw.index))}`);
            if (took > limit) found.push(`it took ${took} ms`);
            if (found.length) throw new Error(`${path}: ${found.join('\n')}`);
            nothing(visitor.wrong);
            return took;
        };
        const how = javaScriptEnabled ? 'hostile' : 'hostile, without JavaScript';
        await check(`${how}: each delivery's page`, async () => {
            const wrong = [];
            let slowest = [0, ''];
            for (const [name, id] of sent) {
                visitor.wrong.length = 0;
                try {
                    const took = await judge(`/deliveries/${id}`);
                    if (took > slowest[0]) slowest = [took, name];
                } catch (error) {
                    wrong.push(`${name}: ${error.message}`);
                }
            }
            if (wrong.length) throw new Error(wrong.join('\n'));
            return `the slowest took ${slowest[0]} ms (${slowest[1]})`;
        });
        await check(`${how}: the lists, and what the address itself carries`, async () => {
            const bad = encodeURIComponent('"><script>window.broken=30</script><img src=x onerror=window.broken=31>\u202e');
            for (const path of ['/', '/deliveries', '/deliveries?limit=200', '/flow', '/setup', `/deliveries?q=${bad}&source=${bad}&kind=${bad}`,
                `/deliveries?since=${bad}`, `/?done=${bad}`, `/login?next=${bad}`, `/login?next=javascript:window.broken=32`, `/${bad}`, `/deliveries/${bad}`]) {
                visitor.wrong.length = 0;
                if (path.startsWith('/login')) {
                    await page.goto(home.panel + path);
                    if (await page.evaluate(() => window.broken)) throw new Error(`${path} ran a script`);
                } else await judge(path);
            }
        });
        await check(`${how}: pasted into the tester`, async () => {
            visitor.wrong.length = 0;
            await page.goto(`${home.panel}/setup`);
            const form = page.locator('form[action="/api/rules/test"]');
            await form.locator('[name="source"]').selectOption('github');
            await form.locator('[name="event_type"]').fill('pull_request');
            await form.locator('[name="payload"]').fill(JSON.stringify(HOSTILE[0][2]));
            await form.getByRole('button').first().click();
            await page.waitForLoadState();
            await page.waitForTimeout(200);
            const found = await page.evaluate(brokenOut);
            if (found.length) throw new Error(found.join('\n'));
            nothing(visitor.wrong);
        });
        await visitor.close();
    }
}

// Without JavaScript everything can still be read, and forms still do what they say.

import { nothing, tooWide, visit, PHONE } from './chrome.mjs';
import { MERGE, TITLES, guid, pullRequest } from './fixtures.mjs';
import { until } from './hookbell.mjs';

const BULK = 130;

export async function plain({ browser, home, check }) {
    await home.send('push', '--count', String(BULK), '--concurrency', '4');
    const title = 'The newest of all';
    await home.post('pull_request', guid(300), pullRequest('closed', 300, title, { merged: true }));
    await home.settle();
    const visitor = await visit(browser, home.panel, { size: PHONE, javaScriptEnabled: false });
    const { page } = visitor;
    const go = async (path) => {
        const response = await page.goto(home.panel + path);
        if (response.status() !== 200) throw new Error(`${path} answered ${response.status()}`);
        const wide = await page.evaluate(tooWide);
        if (wide.length) throw new Error(`${path}: ${wide.join('; ')}`);
        return page.locator('main').innerText();
    };
    const says = (text, ...parts) => {
        for (const part of parts) if (!text.includes(part)) throw new Error(`${new URL(page.url()).pathname} does not say ${JSON.stringify(part)}: ${text.slice(0, 300)}`);
    };

    await check('without JavaScript: Now', async () => {
        const text = await go('/');
        says(text, title);
        if (!(await page.locator('[data-event]').count())) throw new Error('no events');
        if ((await page.locator('[data-lamp]').count()) < 4) throw new Error('not all lamps are drawn');
    });
    await check('without JavaScript: Deliveries, to the oldest by the link', async () => {
        await go('/deliveries');
        const ids = [];
        let pages = 0;
        for (;;) {
            pages += 1;
            ids.push(...(await page.locator('[data-delivery]').evaluateAll((rows) => rows.map((row) => Number(row.dataset.delivery)))));
            const older = page.getByRole('link', { name: /older/i });
            if (!(await older.count()) || pages > 40) break;
            if (!/before=\d+/.test(await older.first().getAttribute('href'))) throw new Error('the link to what is older has no before=');
            await older.first().click();
            await page.waitForLoadState();
        }
        if (new Set(ids).size !== ids.length) throw new Error('a delivery stands on two pages');
        if (ids.some((id, at) => at && id >= ids[at - 1])) throw new Error('not newest first');
        if (ids.at(-1) !== 1 || ids.length !== ids[0]) throw new Error(`${ids.length} rows from ${ids[0]} to ${ids.at(-1)}`);
        if (pages < 2) throw new Error('all on one page');
        return `${ids.length} rows on ${pages} pages`;
    });
    await check('without JavaScript: one delivery, and its replay by a plain form', async () => {
        const text = await go(`/deliveries/${MERGE}`);
        says(text, TITLES[0], 'acme/desk-lamp', 'slack', 'bell', 'pull_request');
        const before = (await home.api(`deliveries/${MERGE}`)).dispatches.length;
        const [answer] = await Promise.all([
            page.waitForResponse((response) => response.request().method() === 'POST'),
            page.locator(`form[action="/api/deliveries/${MERGE}/replay"]`).getByRole('button', { name: /replay/i }).first().click(),
        ]);
        if (answer.status() !== 303) throw new Error(`the form is answered by ${answer.status()}`);
        await page.waitForURL((url) => url.pathname === `/deliveries/${MERGE}`);
        const told = (await page.locator('[role="status"]').allInnerTexts()).join(' ');
        if (!/replay/i.test(told)) throw new Error(`the page says ${JSON.stringify(told)} about the replay`);
        await until('the replay in the API', async () => (await home.api(`deliveries/${MERGE}`)).dispatches.length > before, 5000);
    });
    await check('without JavaScript: Flow', async () => says(await go('/flow'), 'slack', 'bell'));
    await check('without JavaScript: Setup, and its tester', async () => {
        says(await go('/setup'), 'github', '/webhooks/github', 'quiet bots', 'merges');
        const form = page.locator('form[action="/api/rules/test"]');
        await form.locator('[name="source"]').selectOption('github');
        await form.locator('[name="event_type"]').fill('pull_request');
        await form.locator('[name="payload"]').fill(JSON.stringify(pullRequest('closed', 5, 'Would it ring?', { merged: true })));
        await form.getByRole('button').first().click();
        await page.waitForLoadState();
        const text = await page.locator('main').innerText();
        says(text, 'Would it ring?', 'pr_merged', 'merges');
        if (!(await page.locator('#tester [name="payload"]').inputValue()).includes('Would it ring?')) throw new Error('the tester has forgotten what was pasted');
    });
    await check('without JavaScript: nothing in the console, nothing from elsewhere', async () => nothing(visitor.wrong));
    await visitor.close();
}

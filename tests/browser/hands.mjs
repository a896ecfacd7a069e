// A person without a mouse: from the list to a delivery to its replay. And the door to the panel: the token.

import { nothing, open, visit } from './chrome.mjs';
import { MERGE } from './fixtures.mjs';
import { ask, until } from './hookbell.mjs';

/** Tab until the focus is on what is looked for. */
async function tabTo(page, what, isIt, limit = 250) {
    for (let presses = 0; presses < limit; presses += 1) {
        await page.keyboard.press('Tab');
        if (await page.evaluate(isIt)) return;
    }
    throw new Error(`${limit} times Tab do not reach ${what}`);
}

/** On its own machine the panel asks nobody for a token; a proxy there speaks for somebody else. */
const FROM_AFAR = { 'X-Forwarded-For': '192.0.2.7' };

const tries = (story) => story.dispatches.length + story.dispatches.reduce((sum, dispatch) => sum + dispatch.attempts, 0);

export async function hands({ browser, home, guarded, token, check }) {
    const visitor = await visit(browser, home.panel);
    const { page } = visitor;
    await check('replay by keyboard alone, and it is announced', async () => {
        await home.settle();
        const before = await home.api(`deliveries/${MERGE}`);
        await open(page, `${home.panel}/deliveries?kind=pr_merged&before=${MERGE + 1}`);
        await page.keyboard.press('Tab');
        const first = await page.evaluate(() => document.activeElement.getAttribute('href') ?? '');
        if (!first.startsWith('#')) throw new Error(`the first stop of Tab is no skip link but ${await page.evaluate(() => document.activeElement.outerHTML.slice(0, 120))}`);
        await tabTo(page, `the link to delivery ${MERGE}`, `document.activeElement.closest('[data-delivery="${MERGE}"]') && document.activeElement.matches('a[href^="/deliveries/${MERGE}"]')`);
        const outline = await page.evaluate(() => {
            const style = getComputedStyle(document.activeElement);
            return style.outlineStyle !== 'none' || style.boxShadow !== 'none' || style.textDecorationLine !== 'none';
        });
        if (!outline) throw new Error('the focus on the link cannot be seen');
        await page.keyboard.press('Enter');
        await page.waitForURL((url) => url.pathname === `/deliveries/${MERGE}`);
        await page.waitForFunction(() => document.body.dataset.stream === 'live', null, { polling: 20 });
        await tabTo(page, 'the replay button', `document.activeElement.matches('button') && /replay/i.test(document.activeElement.textContent + (document.activeElement.ariaLabel ?? ''))`);
        await page.keyboard.press('Enter');
        await until('an announced outcome', () => page.evaluate(() => [...document.querySelectorAll('[role="status"]')].some((status) => /replay/i.test(status.textContent))).catch(() => false), 5000);
        const words = (await page.locator('[role="status"]').allTextContents()).join(' ').trim().replace(/\s+/g, ' ');
        await until('the replay in the API', async () => tries(await home.api(`deliveries/${MERGE}`)) > tries(before), 8000);
        const after = await home.api(`deliveries/${MERGE}`);
        if (!after.notes.some((note) => /replay/i.test(note))) throw new Error(`no note of the replay: ${after.notes}`);
        nothing(visitor.wrong);
        return JSON.stringify(words.slice(0, 80));
    });
    await check('the new attempts are on the open page', async () => {
        await home.settle();
        await until('the note on the page', () => page.evaluate(() => /replayed/i.test(document.querySelector('main').textContent)), 5000);
        nothing(visitor.wrong);
    });
    await check('the links of the navigation, by name, and the page they stand on', async () => {
        for (const [name, path] of [['Now', '/'], ['Deliveries', '/deliveries'], ['Flow', '/flow'], ['Setup', '/setup']]) {
            await page.getByRole('navigation').getByRole('link', { name, exact: true }).first().click();
            await page.waitForURL((url) => url.pathname === path);
            const current = (await page.locator('nav [aria-current="page"]').allTextContents()).map((text) => text.trim());
            if (!current.some((text) => text.includes(name))) throw new Error(`${path}: aria-current is on ${JSON.stringify(current)}`);
        }
        nothing(visitor.wrong);
    });
    await check('a filter by its form: only what was asked for', async () => {
        await open(page, `${home.panel}/deliveries?status=skipped`);
        const found = await page.locator('[data-delivery]').evaluateAll((rows) => rows.map((row) => row.dataset.status));
        if (!found.length || found.some((status) => status !== 'skipped')) throw new Error(`status=skipped shows ${found}`);
        await open(page, `${home.panel}/deliveries?q=heating`);
        const words = await page.locator('[data-delivery]').allTextContents();
        if (words.length !== 1 || !words[0].includes('heating')) throw new Error(`q=heating shows ${words.length} rows`);
        nothing(visitor.wrong);
    });
    await visitor.close();

    await check('a protected panel: the way in, and out', async () => {
        const guest = await visit(browser, guarded.panel, { headers: FROM_AFAR, expect: [/status of 40[13]/, /status of 429/] });
        try {
            await guest.page.goto(`${guarded.panel}/flow`);
            if (new URL(guest.page.url()).pathname !== '/login') throw new Error(`/flow without a token leads to ${guest.page.url()}`);
            await guest.page.locator('input[name="token"]').fill('not it');
            await guest.page.getByRole('button', { name: /log in/i }).click();
            await guest.page.waitForLoadState();
            if (await guest.page.locator('input[name="token"]').count() !== 1) throw new Error('a wrong token is not asked for again');
            await guest.page.locator('input[name="token"]').fill(token);
            await guest.page.keyboard.press('Enter');
            await guest.page.waitForURL((url) => url.pathname === '/flow');
            const cookies = await guest.context.cookies();
            const weak = cookies.filter((cookie) => !cookie.httpOnly || cookie.sameSite !== 'Strict');
            if (!cookies.length || weak.length) throw new Error(`cookies: ${JSON.stringify(cookies.map(({ name, httpOnly, sameSite }) => ({ name, httpOnly, sameSite })))}`);
            if (cookies.some((cookie) => cookie.value.includes(token))) throw new Error('the cookie holds the token itself');
            await guest.page.getByRole('button', { name: /log out/i }).click();
            await guest.page.waitForLoadState();
            await guest.page.goto(`${guarded.panel}/`);
            if (new URL(guest.page.url()).pathname !== '/login') throw new Error('after logging out the panel is still open');
            nothing(guest.wrong);
        } finally {
            await guest.close();
        }
        for (const path of ['/', '/deliveries', '/api/deliveries', '/api/health', '/api/live', '/metrics']) {
            const answer = await ask(guarded.panel + path, { headers: FROM_AFAR });
            if (answer.status === 200) throw new Error(`${path} answers 200 without a token`);
        }
    });
}

// Debian's Chromium, and what is watched in every page: nothing in the console, nothing from elsewhere, no dialog.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const PHONE = { width: 390, height: 844 };
export const DESKTOP = { width: 1280, height: 900 };

/** The same letters on every machine, whatever else it has: DejaVu, from Debian's fonts-dejavu-core. */
function fonts(work) {
    const file = join(work, 'fonts.conf');
    const prefer = (name, font) => `<alias binding="same"><family>${name}</family><prefer><family>${font}</family></prefer></alias>`;
    // Debian's fonts-dejavu-extra adds to the same folder, and no page of ours asks for letters with serifs.
    const others = ['Serif', 'Condensed', 'ExtraLight', 'Oblique', 'Math'].map((name) => `<glob>*${name}*</glob>`).join('');
    mkdirSync(work, { recursive: true });
    writeFileSync(file, `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
<dir>/usr/share/fonts/truetype/dejavu</dir><cachedir>${work}/fonts</cachedir>
<selectfont><rejectfont>${others}</rejectfont></selectfont>
${['sans-serif', 'system-ui', 'serif', 'ui-sans-serif'].map((name) => prefer(name, 'DejaVu Sans')).join('\n')}
${['monospace', 'ui-monospace'].map((name) => prefer(name, 'DejaVu Sans Mono')).join('\n')}
<match target="pattern"><edit name="family" mode="append_last" binding="weak"><string>DejaVu Sans</string></edit></match>
<match target="font"><edit name="antialias" mode="assign"><bool>true</bool></edit>
<edit name="hintstyle" mode="assign"><const>hintnone</const></edit><edit name="rgba" mode="assign"><const>none</const></edit></match></fontconfig>`);
    return file;
}

export function launch(chromium, executablePath, work, headed) {
    return chromium.launch({
        executablePath,
        headless: !headed,
        // A container's /dev/shm is small, and Chromium's sandbox refuses to run as root.
        args: ['--disable-dev-shm-usage', '--disable-lcd-text', '--font-render-hinting=none', '--force-color-profile=srgb'],
        chromiumSandbox: process.getuid() !== 0,
        env: { ...process.env, FONTCONFIG_FILE: fonts(work) },
    });
}

/** A context of which everything that must not happen is written down. */
export async function visit(browser, origin, { size = DESKTOP, scheme = 'light', javaScriptEnabled = true, expect = [], headers = {} } = {}) {
    const context = await browser.newContext({
        viewport: size, colorScheme: scheme, javaScriptEnabled, reducedMotion: 'reduce', locale: 'en-GB', timezoneId: 'UTC', acceptDownloads: false, extraHTTPHeaders: headers,
    });
    context.setDefaultTimeout(15_000);
    const wrong = [];
    const isExpected = (text) => expect.some((part) => part.test(text));
    context.on('console', (message) => {
        if (message.type() === 'error' && !isExpected(message.text())) wrong.push(`console: ${message.text()}`);
    });
    context.on('weberror', (error) => wrong.push(`exception: ${error.error()}`));
    context.on('request', (request) => {
        if (!request.url().startsWith(`${origin}/`)) wrong.push(`request to ${request.url().slice(0, 120)}`);
    });
    context.on('dialog', (dialog) => {
        wrong.push(`dialog: ${dialog.message()}`);
        dialog.dismiss();
    });
    await context.addInitScript(() => {
        addEventListener('securitypolicyviolation', (event) => console.error(`CSP ${event.violatedDirective}: ${event.blockedURI}`));
    });
    const page = await context.newPage();
    return { context, page, wrong, close: () => context.close() };
}

/** Opens a path and waits until the page is alive: the stream is open, where there is one. */
export async function open(page, url, { live = true } = {}) {
    const response = await page.goto(url, { waitUntil: 'load' });
    if (live) await page.waitForFunction(() => document.body.dataset.stream === 'live', null, { polling: 20, timeout: 10_000 });
    return response;
}

/** Nothing wrong, or the first few of it. */
export function nothing(wrong) {
    if (wrong.length) throw new Error([...new Set(wrong)].slice(0, 5).join('\n') + (wrong.length > 5 ? `\n… ${wrong.length} in all` : ''));
}

/** What is wider than the screen without a box of its own to scroll in. */
export function tooWide() {
    const width = document.documentElement.clientWidth;
    if (document.scrollingElement.scrollWidth <= width) return [];
    const scrolls = (element) => element && element !== document.body && element !== document.documentElement
        && (getComputedStyle(element).overflowX !== 'visible' || scrolls(element.parentElement));
    return [...document.body.querySelectorAll('*')]
        .filter((element) => element.getBoundingClientRect().right > width + 1 && !scrolls(element.parentElement))
        .slice(0, 3)
        .map((element) => `${element.outerHTML.slice(0, 100)} ends at ${Math.round(element.getBoundingClientRect().right)} of ${width}`)
        .concat(`the page is ${document.scrollingElement.scrollWidth} points wide`);
}

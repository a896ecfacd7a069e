// Holds the exchanges of hookbell and of the tests with their stand-in for GitHub against GitHub's published description:
// scripts/test-github. One line for each operation; exit 1 when an exchange is wrong or an operation was never tried.

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { Description, parse } from './description.mjs';

/** What is asked of GitHub, by hookbell or by the tests: each has to be seen answered well. */
const OF_A_HOOK = [
    'GET /config', 'PATCH /config', 'GET /deliveries', 'GET /deliveries/{delivery_id}', 'POST /deliveries/{delivery_id}/attempts',
];
const OF_HOOKS = ['GET ', 'POST ', 'GET /{hook_id}', 'PATCH /{hook_id}', 'POST /{hook_id}/pings'];
const beneath = (path, operations) => operations.map((one) => one.replace(' ', ` ${path}`));
const USED = [
    ...['/repos/{owner}/{repo}/hooks', '/orgs/{org}/hooks'].flatMap((path) => [
        ...beneath(path, OF_HOOKS),
        ...beneath(`${path}/{hook_id}`, OF_A_HOOK),
    ]),
    ...beneath('/app/hook', OF_A_HOOK),
    'GET /repos/{owner}/{repo}/events',
];
/** What hookbell itself asks for, of that: each has to be seen asked by it. */
const LISTS = ['GET /deliveries', 'GET /deliveries/{delivery_id}'];
const MADE = ['GET ', 'POST ', 'PATCH /{hook_id}', 'POST /{hook_id}/pings'];
const OURS = [
    ...['/repos/{owner}/{repo}/hooks', '/orgs/{org}/hooks'].flatMap((path) => [
        ...beneath(path, MADE),
        ...beneath(`${path}/{hook_id}`, LISTS),
    ]),
    ...beneath('/app/hook', ['GET /config', ...LISTS]),
    'POST /repos/{owner}/{repo}/hooks/{hook_id}/deliveries/{delivery_id}/attempts',
    'GET /repos/{owner}/{repo}/events',
];
/** How much of a wrong exchange is shown, and how many. */
const SHOWN_BYTES = 1500;
const SHOWN_MAX = 10;

const { values: given } = parseArgs({ options: { modules: { type: 'string' }, log: { type: 'string' } } });
const description = new Description(given.modules);

function read(path) {
    try {
        return readFileSync(path, 'utf8').split('\n').filter(Boolean);
    } catch {
        return [];
    }
}

const isGood = ({ status }) => status >= 200 && status < 300;

/** The same exchange with one thing wrong, each of which has to be noticed: a judge who lets everything pass is none. */
function* harmed(exchange) {
    const { path, query, request, response, status } = exchange;
    yield ['another path', { path: `${path}/more/than/there/is` }];
    yield ['another method', { method: 'PUT' }];
    yield ['an unknown parameter', { query: `${query}${query && '&'}colour=red` }];
    yield ['another status', { status: status + 6 }];
    yield ['a response of another type', { response: response === null || Array.isArray(response) ? { a: 1 } : [] }];
    if (request) yield ['an unknown property in the request', { request: { ...request, colour: 'red' } }];
    if (request === null) yield ['a request that is no object', { request: 'colour=red' }];
    const one = Array.isArray(response) ? response[0] : response;
    if (!one || Object.keys(one).length === 0) return;
    const again = (changed) => ({ response: Array.isArray(response) ? [changed] : changed });
    yield ['an unknown property in the response', again({ ...one, colour: 'red' })];
    yield ['a property of another type', again({ ...one, [one.url ? 'url' : 'id']: {} })];
    if (!('id' in one)) return;
    const { id: _, ...rest } = one;
    yield ['no id', again(rest)];
    yield ['an id of 65 bits', again({ ...one, id: parse('18446744073709551616') })];
}

const operations = new Map();
const wrong = [];
let total = 0;
for (const line of read(given.log)) {
    const exchange = parse(line);
    const { name, wrong: words } = description.judge(exchange);
    total += 1;
    if (words.length) wrong.push({ line, words });
    if (!name) continue;
    const seen = operations.get(name) ?? { count: 0, byHookbell: 0, statuses: new Map(), good: null };
    operations.set(name, seen);
    seen.count += 1;
    seen.byHookbell += /^hookbell\//.test(exchange.agent ?? '') ? 1 : 0;
    seen.statuses.set(exchange.status, (seen.statuses.get(exchange.status) ?? 0) + 1);
    // The fullest one is the easiest to harm.
    const fuller = JSON.stringify(exchange.response).length > JSON.stringify(seen.good?.response ?? null).length;
    if (isGood(exchange) && words.length === 0 && (!seen.good || fuller)) seen.good = exchange;
}

let harms = 0;
const unnoticed = [];
for (const [name, { good }] of operations) {
    for (const [what, change] of good ? harmed(good) : []) {
        harms += 1;
        if (description.judge({ ...good, ...change }).wrong.length === 0) unnoticed.push(`${name}: ${what}`);
    }
}

for (const name of [...operations.keys()].sort()) {
    const { count, byHookbell, statuses } = operations.get(name);
    const told = [...statuses].sort(([a], [b]) => a - b).map(([status, times]) => `${status}×${times}`);
    console.log(`${String(count).padStart(6)}  ${name}  ${told.join(' ')}${byHookbell ? `  (${byHookbell} by hookbell)` : ''}`);
}
for (const { line, words } of wrong.slice(0, SHOWN_MAX)) {
    console.log(`WRONG   ${line.length > SHOWN_BYTES ? `${line.slice(0, SHOWN_BYTES)}…` : line}`);
    for (const word of words) console.log(`        ${word}`);
}
if (wrong.length > SHOWN_MAX) console.log(`        and ${wrong.length - SHOWN_MAX} more`);
const missing = USED.filter((name) => !operations.get(name)?.good);
for (const name of missing) console.log(`MISSING ${name}: no exchange that went well`);
const unasked = OURS.filter((name) => !operations.get(name)?.byHookbell);
for (const name of unasked) console.log(`UNASKED ${name}: never by hookbell`);
missing.push(...unasked);
const unlisted = [...operations].filter(([name, { byHookbell }]) => byHookbell && !USED.includes(name)).map(([name]) => name);
for (const name of unlisted) console.log(`NEW     ${name} is used by hookbell: list it in tests/github/check.mjs`);
for (const what of unnoticed) console.log(`BLIND   ${what} was not noticed`);
const told = `${total} exchanges of ${operations.size} operations against GitHub's description ${description.version}`;
if (total === 0) console.log(`there are no exchanges in ${given.log}`);
if (total === 0 || wrong.length || missing.length || unlisted.length || unnoticed.length) {
    console.log(`${told}: ${wrong.length} wrong, ${missing.length} missing, ${unlisted.length} new, ${unnoticed.length} blind`);
    process.exit(1);
}
console.log(`${told}: all as described; ${harms} harmed ones noticed`);

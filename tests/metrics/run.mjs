// Judges what hookbell tells Prometheus, with the real one: scripts/test-metrics. One line for each check; exit 1 when
// one fails.

import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { checks } from '../browser/checks.mjs';
import { Hookbell, ask, freePort, json, pause, until } from '../browser/hookbell.mjs';

const { values: given } = parseArgs({ options: { binary: { type: 'string' }, prometheus: { type: 'string' }, root: { type: 'string' } } });
const alertsFile = join(given.root, 'docs/prometheus-alerts.yml');
const dashboardFile = join(given.root, 'docs/grafana-dashboard.json');
const alertsTest = join(given.root, 'tests/metrics/alerts_test.yml');
const work = mkdtempSync(join(tmpdir(), 'hookbell-metrics-'));

const ACCEPTED = 23;
const DUPLICATE = 2;
const REFUSED = 3;
/** Nobody listens there: its breaker opens. */
const DEAD_SINK = `
[sinks.archive]
kind = "forward"
url = "http://127.0.0.1:9/hook"
allow_private = true
secret = { env = "ARCHIVE_SECRET" }
[sinks.archive.retry]
first = "50 ms"
[sources.quiet]
provider = "github"
secret = { env = "GITHUB_WEBHOOK_SECRET" }
`;
const RULES = '[[rules]]\nname = "merges"\nwhen = { kind = "pr_*" }\nto = ["slack", "bell", "archive"]\n';

/** Name, type, labels. A family that this machine may not have at this moment is `maybe`. */
const FAMILIES = [
    ['hookbell_build_info', 'gauge', ['version', 'revision']],
    ['hookbell_deliveries_total', 'counter', ['source', 'result']],
    ['hookbell_ack_duration_seconds', 'histogram', ['source']],
    ['hookbell_dispatches_total', 'counter', ['sink', 'outcome']],
    ['hookbell_dispatch_duration_seconds', 'histogram', ['sink']],
    ['hookbell_queue_depth', 'gauge', ['sink', 'state']],
    ['hookbell_oldest_undelivered_age_seconds', 'gauge', []],
    ['hookbell_breaker_state', 'gauge', ['sink']],
    ['hookbell_store_bytes', 'gauge', []],
    ['hookbell_store_free_bytes', 'gauge', []],
    ['hookbell_store_written_bytes_total', 'counter', []],
    ['hookbell_store_commits_total', 'counter', []],
    ['hookbell_store_failing', 'gauge', []],
    ['hookbell_bell_edges_total', 'counter', []],
    ['hookbell_bell_edges_late_seconds', 'histogram', []],
    ['hookbell_tunnel_up', 'gauge', [], 'maybe'],
    ['hookbell_canary_missing', 'gauge', [], 'maybe'],
    ['hookbell_canary_round_trip_seconds', 'gauge', [], 'maybe'],
    ['hookbell_reconciled_timestamp_seconds', 'gauge', ['source', 'place'], 'maybe'],
    ['hookbell_missing_deliveries', 'gauge', ['source', 'place'], 'maybe'],
    ['hookbell_recovered_deliveries_total', 'counter', ['source', 'place'], 'maybe'],
    ['hookbell_lost_deliveries_total', 'counter', ['source', 'place'], 'maybe'],
    ['hookbell_health_status', 'gauge', []],
    ['hookbell_live_streams', 'gauge', []],
    ['process_cpu_seconds_total', 'counter', []],
    ['process_resident_memory_bytes', 'gauge', []],
    ['process_virtual_memory_bytes', 'gauge', []],
    ['process_open_fds', 'gauge', []],
    ['process_max_fds', 'gauge', []],
    ['process_start_time_seconds', 'gauge', []],
    ['process_threads', 'gauge', []],
];
const RESULTS = ['accepted', 'duplicate', 'refused', 'limited', 'unavailable'];
const OUTCOMES = ['done', 'skipped', 'retry', 'dead'];
const STATES = ['due', 'leased', 'dead'];

const { check, tally } = checks();

function promtool(words, input) {
    const { status, stdout, stderr, error } = spawnSync(join(given.prometheus, 'promtool'), words, { input, encoding: 'utf8' });
    if (error) throw error;
    if (status !== 0) throw new Error(`promtool ${words.join(' ')}: exit ${status}\n${(stdout + stderr).trim().slice(0, 2000)}`);
    return (stdout + stderr).trim();
}

/** Prometheus' text: type, help and samples of each family. */
function parse(text) {
    const families = new Map();
    const family = (name) => families.get(name) ?? families.set(name, { samples: [] }).get(name);
    for (const line of text.split('\n')) {
        const told = line.match(/^# (HELP|TYPE) (\S+) (.*)$/);
        if (told) family(told[2])[told[1].toLowerCase()] = told[3];
        const sample = line.match(/^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/);
        if (!sample) continue;
        const labels = Object.fromEntries([...(sample[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [name, value]));
        const base = sample[1].replace(/_(bucket|sum|count)$/, '');
        const of = families.get(base)?.type === 'histogram' ? base : sample[1];
        family(of).samples.push({ name: sample[1], labels, value: sample[3] === '+Inf' ? Infinity : Number(sample[3]) });
    }
    return families;
}

const scrape = async (home) => {
    const answer = await ask(`${home.panel}/metrics`, { headers: { Accept: 'text/plain;version=0.0.4' } });
    if (answer.status !== 200) throw new Error(`/metrics answered ${answer.status}`);
    return { ...answer, families: parse(answer.text) };
};
const sum = (families, name, want = {}) =>
    (families.get(name.replace(/_(bucket|sum|count)$/, '')) ?? families.get(name) ?? { samples: [] }).samples
        .filter((sample) => sample.name === name && Object.entries(want).every(([label, value]) => sample.labels[label] === value))
        .reduce((all, sample) => all + sample.value, 0);

function judgeFamilies(families) {
    const wrong = [];
    // A series that appears with its first increase is never seen to increase, so all of them are there from the start.
    const missing = new Map();
    const series = (name, labels) => {
        const there = families.get(name)?.samples.some((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value));
        if (!there) missing.set(name, [...(missing.get(name) ?? []), Object.values(labels).join(' ')]);
    };
    for (const [name, type, labels, maybe] of FAMILIES) {
        const family = families.get(name);
        if (!family) {
            if (!maybe) wrong.push(`${name} is not there`);
            continue;
        }
        if (family.type !== type) wrong.push(`${name} is a ${family.type}, not a ${type}`);
        if (!family.help) wrong.push(`${name} has no HELP`);
        for (const sample of family.samples) {
            const has = Object.keys(sample.labels).filter((label) => label !== 'le').sort();
            if (String(has) !== String([...labels].sort())) wrong.push(`${sample.name} has the labels ${has}, not ${labels}`);
            if (Number.isNaN(sample.value) || (type !== 'gauge' && sample.value < 0)) wrong.push(`${sample.name} is ${sample.value}`);
        }
        if (type === 'histogram') wrong.push(...histogram(name, family.samples));
    }
    const told = new Set(FAMILIES.map(([name]) => name));
    for (const name of families.keys()) if (!told.has(name)) wrong.push(`${name} is told to nobody: add it to tests/metrics/run.mjs`);
    for (const source of ['github', 'quiet']) for (const result of RESULTS) series('hookbell_deliveries_total', { source, result });
    for (const sink of ['slack', 'bell', 'archive']) {
        for (const outcome of OUTCOMES) series('hookbell_dispatches_total', { sink, outcome });
        for (const state of STATES) series('hookbell_queue_depth', { sink, state });
        series('hookbell_breaker_state', { sink });
    }
    for (const [name, labels] of missing) wrong.push(`${name} has no series yet for: ${labels.join(', ')}`);
    if (wrong.length) throw new Error([...new Set(wrong)].join('\n'));
    return `${families.size} families, ${[...families.values()].reduce((all, family) => all + family.samples.length, 0)} samples`;
}

/** Buckets grow, the last is +Inf and equals the count. */
function histogram(name, samples) {
    const wrong = [];
    const groups = new Map();
    for (const sample of samples) {
        const { le, ...labels } = sample.labels;
        const key = JSON.stringify(labels);
        const group = groups.get(key) ?? groups.set(key, { buckets: [] }).get(key);
        if (sample.name.endsWith('_bucket')) group.buckets.push([le === '+Inf' ? Infinity : Number(le), sample.value]);
        else group[sample.name.slice(name.length + 1)] = sample.value;
    }
    for (const [labels, { buckets, count, sum: total }] of groups) {
        const grows = buckets.every(([le, value], at) => !at || (le > buckets[at - 1][0] && value >= buckets[at - 1][1]));
        if (!grows) wrong.push(`${name}${labels}: its buckets do not grow`);
        if (buckets.at(-1)?.[0] !== Infinity || buckets.at(-1)[1] !== count) wrong.push(`${name}${labels}: its last bucket is not its count`);
        if (count > 0 && !(total >= 0)) wrong.push(`${name}${labels}: its sum is ${total}`);
    }
    return wrong;
}

// ---- the dashboard -----------------------------------------------------------------------------------------------------

/** What Grafana would ask, with its variables filled in as it does. */
function questions(dashboard) {
    const found = [];
    const fill = (expression) => expression
        .replace(/\$__rate_interval|\$__interval|\$__range/g, '15s')
        .replace(/\$\{?(?:instance|source|sink)(?::\w+)?\}?/g, '.*');
    for (const panel of dashboard.panels.flatMap((one) => [one, ...(one.panels ?? [])])) {
        for (const target of panel.targets ?? []) found.push([panel.title, fill(target.expr)]);
    }
    for (const one of dashboard.annotations.list) if (one.expr) found.push([`annotation ${one.name}`, fill(one.expr)]);
    return found;
}

/** What has nothing to say on this machine. */
const MAY_BE_EMPTY = /^hookbell_tunnel_up|hookbell_tunnel_up\{|^changes\(/;

let home;
let prometheus;
try {
    home = await Hookbell.start(given.binary, { rules: RULES, more: DEAD_SINK });
    await check('from the start every family and every series is there', async () => judgeFamilies((await scrape(home)).families));

    await home.send('pr_merged', '--count', String(ACCEPTED - 1));
    const same = '{"action":"created","starred_at":"2026-11-22T10:00:00Z"}';
    for (let number = 0; number <= DUPLICATE; number += 1) await home.post('star', 'the-same-id', same);
    for (let number = 0; number < REFUSED; number += 1) {
        const { status } = await home.post('push', `forged-${number}`, '{}', { secret: 'not the secret' });
        if (status !== 401) throw new Error(`a forged delivery was answered ${status}`);
    }
    await until('the open breaker', async () => sum((await scrape(home)).families, 'hookbell_breaker_state', { sink: 'archive' }) === 1);
    await until('Slack has it all', async () => sum((await scrape(home)).families, 'hookbell_dispatches_total', { sink: 'slack', outcome: 'done' }) >= ACCEPTED - 1);
    const { text, headers, families } = await scrape(home);

    await check('/metrics is text that promtool has nothing against', () => {
        if (!/^text\/plain; ?version=0\.0\.4/.test(headers['content-type'] ?? '')) throw new Error(`Content-Type: ${headers['content-type']}`);
        const said = promtool(['check', 'metrics'], text);
        if (said) throw new Error(said);
        return `${text.length} bytes`;
    });
    await check('types, labels, histograms', () => judgeFamilies(families));
    await check('the numbers are what was sent', () => {
        const wrong = [];
        const is = (name, labels, want) => {
            const value = sum(families, name, labels);
            if (!(typeof want === 'function' ? want(value) : value === want)) wrong.push(`${name}${JSON.stringify(labels)} is ${value}, expected ${want}`);
        };
        const github = (result) => ({ source: 'github', result });
        is('hookbell_deliveries_total', github('accepted'), ACCEPTED);
        is('hookbell_deliveries_total', github('duplicate'), DUPLICATE);
        is('hookbell_deliveries_total', github('refused'), REFUSED);
        is('hookbell_deliveries_total', github('limited'), 0);
        is('hookbell_deliveries_total', github('unavailable'), 0);
        is('hookbell_deliveries_total', { source: 'quiet' }, 0);
        is('hookbell_ack_duration_seconds_count', { source: 'github' }, (value) => value >= ACCEPTED && value <= ACCEPTED + DUPLICATE);
        is('hookbell_ack_duration_seconds_sum', {}, (value) => value > 0 && value < 60);
        is('hookbell_dispatches_total', { sink: 'slack', outcome: 'done' }, ACCEPTED - 1);
        is('hookbell_dispatch_duration_seconds_count', { sink: 'slack' }, (value) => value >= ACCEPTED - 1);
        is('hookbell_dispatches_total', { sink: 'archive', outcome: 'done' }, 0);
        is('hookbell_dispatches_total', { sink: 'archive', outcome: 'retry' }, (value) => value >= 5);
        is('hookbell_queue_depth', { sink: 'archive' }, ACCEPTED - 1);
        is('hookbell_queue_depth', { sink: 'slack' }, 0);
        is('hookbell_breaker_state', { sink: 'slack' }, 0);
        is('hookbell_oldest_undelivered_age_seconds', {}, (value) => value > 0 && value < 120);
        is('hookbell_build_info', {}, 1);
        is('hookbell_store_bytes', {}, (value) => value > 4096);
        is('hookbell_store_free_bytes', {}, (value) => value > 1e6);
        is('hookbell_store_written_bytes_total', {}, (value) => value > 4096);
        is('hookbell_store_commits_total', {}, (value) => value > 0);
        is('hookbell_store_failing', {}, 0);
        is('hookbell_bell_edges_total', {}, (value) => value > 0);
        is('hookbell_health_status', {}, (value) => value === 1 || value === 2);
        is('process_open_fds', {}, (value) => value > 5 && value < 200);
        is('process_max_fds', {}, (value) => value >= 256);
        is('process_threads', {}, (value) => value > 3 && value < 200);
        is('process_resident_memory_bytes', {}, (value) => value > 1e6 && value < 512e6);
        is('process_virtual_memory_bytes', {}, (value) => value > sum(families, 'process_resident_memory_bytes'));
        is('process_start_time_seconds', {}, (value) => Math.abs(value - Date.now() / 1000) < 300);
        is('process_cpu_seconds_total', {}, (value) => value > 0 && value < 300);
        if (wrong.length) throw new Error(wrong.join('\n'));
    });
    await check('the version is the program\'s own', async () => {
        const own = (await home.command('--version')).stdout;
        const { version } = families.get('hookbell_build_info').samples[0].labels;
        if (!own.includes(version)) throw new Error(`${version} is not in ${own}`);
        return version;
    });

    // ---- Prometheus itself
    const port = await freePort();
    const web = `http://127.0.0.1:${port}`;
    const config = join(work, 'prometheus.yml');
    const rules = readFileSync(alertsFile, 'utf8');
    const names = [...rules.matchAll(/- alert: (\S+)/g)].map(([, name]) => name);
    // The same rules once more, without their patience.
    const hasty = join(work, 'hasty.yml');
    writeFileSync(hasty, rules.replace(/^( +)for: .*$/gm, '$1for: 0s').replace('- name: hookbell', '- name: hasty').replace(/- alert: /g, '- alert: Hasty'));
    writeFileSync(config, `
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [${JSON.stringify(alertsFile)}, ${JSON.stringify(hasty)}]
scrape_configs:
  - job_name: hookbell
    static_configs: [{ targets: [${JSON.stringify(new URL(home.panel).host)}] }]
`);
    await check('promtool: the configuration, the rules, and when they fire', () => {
        promtool(['check', 'config', config]);
        promtool(['check', 'rules', alertsFile]);
        promtool(['test', 'rules', alertsTest]);
        const tested = readFileSync(alertsTest, 'utf8');
        const untested = names.filter((name) => !tested.includes(`"${name}"`));
        if (untested.length) throw new Error(`never shown to fire: ${untested}`);
        return `${names.length} alerts`;
    });
    await check('each alert says what is wrong and what to do', () => {
        const without = rules.split('- alert: ').slice(1).filter((one) => !/summary: \S/.test(one) || !/description: >-\n\s+\S/.test(one) || !/severity: (critical|warning|info)/.test(one));
        if (without.length) throw new Error(without.map((one) => one.split('\n')[0]).join(', '));
    });

    const log = [];
    prometheus = spawn(join(given.prometheus, 'prometheus'),
        [`--config.file=${config}`, `--storage.tsdb.path=${join(work, 'tsdb')}`, `--web.listen-address=127.0.0.1:${port}`], { stdio: ['ignore', 'ignore', 'pipe'] });
    prometheus.ended = new Promise((done) => prometheus.once('close', done));
    prometheus.stderr.on('data', (part) => log.push(part));
    await until('Prometheus', () => ask(`${web}/-/ready`).then((answer) => answer.status === 200, () => {
        if (prometheus.exitCode !== null) throw new Error(`Prometheus has ended:\n${Buffer.concat(log).toString().slice(-2000)}`);
        return false;
    }));
    const api = async (path) => (await json(`${web}/api/v1/${path}`)).data;
    const query = (expression) => api(`query?query=${encodeURIComponent(expression)}`);

    await check('Prometheus reads it', async () => {
        const target = await until('the target up', async () => (await api('targets')).activeTargets.find((one) => one.health !== 'unknown'));
        if (target.health !== 'up') throw new Error(target.lastError);
        return `in ${(target.lastScrapeDuration * 1000).toFixed(0)} ms`;
    });
    await check('all rules are loaded and healthy, and a dead sink is pending', async () => {
        const loaded = await until('all rules judged', async () => {
            const { groups } = await api('rules');
            const all = groups.flatMap((group) => group.rules);
            return all.every((rule) => rule.health !== 'unknown') && all;
        });
        const sick = loaded.filter((rule) => rule.health !== 'ok');
        if (sick.length) throw new Error(sick.map((rule) => `${rule.name}: ${rule.lastError}`).join('\n'));
        const missing = names.filter((name) => !loaded.some((rule) => rule.name === name));
        if (missing.length) throw new Error(`not loaded: ${missing}`);
        await until('HookbellSinkDown pending', async () => (await api('alerts')).alerts.some((alert) => alert.labels.alertname === 'HookbellSinkDown' && alert.labels.sink === 'archive' && alert.state === 'pending'));
        return `${loaded.length} rules`;
    });
    await check('without its patience it fires, and only what is true does', async () => {
        const firing = async () => (await api('alerts')).alerts.filter((alert) => alert.state === 'firing');
        const alert = await until('HastyHookbellSinkDown', async () => (await firing()).find((one) => one.labels.alertname === 'HastyHookbellSinkDown'));
        if (alert.labels.sink !== 'archive') throw new Error(`it is about ${alert.labels.sink}`);
        if (!alert.annotations.summary.includes('archive') || !alert.annotations.description) throw new Error(`it says ${JSON.stringify(alert.annotations)}`);
        const others = (await firing()).map((one) => one.labels.alertname).filter((name) => name !== 'HastyHookbellSinkDown' && name !== 'HastyHookbellUnhealthy');
        if (others.length) throw new Error(`these fire, too: ${others}`);
        return alert.annotations.summary;
    });

    const dashboard = JSON.parse(readFileSync(dashboardFile, 'utf8'));
    await check('the dashboard can be imported', () => {
        const wrong = [];
        if (!(dashboard.schemaVersion >= 39) || !dashboard.title || !dashboard.uid) wrong.push('schemaVersion, title or uid');
        const variables = dashboard.templating.list.map((variable) => variable.name);
        for (const name of ['datasource', 'instance', 'source', 'sink']) if (!variables.includes(name)) wrong.push(`no variable ${name}`);
        const ids = dashboard.panels.map((panel) => panel.id);
        if (new Set(ids).size !== ids.length) wrong.push('two panels have one id');
        const taken = new Map();
        for (const { title, gridPos: { x, y, w, h } } of dashboard.panels) {
            if (x + w > 24) wrong.push(`${title} is wider than the grid`);
            for (let across = x; across < x + w; across += 1) for (let down = y; down < y + h; down += 1) {
                const key = `${across} ${down}`;
                if (taken.has(key) && taken.get(key) !== title) wrong.push(`${title} lies on ${taken.get(key)}`);
                taken.set(key, title);
            }
        }
        const text = JSON.stringify(dashboard);
        for (const uid of text.matchAll(/"uid":"([^"]*)"/g)) if (!['hookbell', '${datasource}'].includes(uid[1])) wrong.push(`a data source of its own: ${uid[1]}`);
        if (wrong.length) throw new Error([...new Set(wrong)].join('\n'));
        return `${dashboard.panels.filter((panel) => panel.type !== 'row').length} panels`;
    });
    await check('every question of the dashboard has an answer', async () => {
        // A rate needs two looks, a quantile of it something that happened between them.
        await home.send('pr_opened', '--count', '5');
        await pause(3000);
        const wrong = [];
        const asked = questions(dashboard);
        for (const [title, expression] of asked) {
            try {
                const { result } = await query(expression);
                if (!result.length && !MAY_BE_EMPTY.test(expression) && !FAMILIES.some(([name, , , maybe]) => maybe && expression.includes(name))) wrong.push(`${title}: nothing for ${expression}`);
            } catch (error) {
                wrong.push(`${title}: ${expression}: ${error.message}`);
            }
        }
        for (const variable of dashboard.templating.list.filter((one) => one.type === 'query')) {
            const [, metric, label] = variable.query.query.match(/^label_values\((.*), *(\w+)\)$/) ?? [];
            const values = label ? await api(`label/${label}/values?match[]=${encodeURIComponent(metric)}`) : [];
            if (!values.length) wrong.push(`the variable ${variable.name} has no values`);
        }
        if (wrong.length) throw new Error(wrong.join('\n'));
        return `${asked.length} of them`;
    });
    await check('dashboard and alerts name only what there is, and leave nothing out', () => {
        const used = new Set((rules + asText(dashboard)).match(/\b(?:hookbell|process)_[a-z_]+/g).map((name) => name.replace(/_(bucket|sum|count)$/, '')));
        const known = new Set(FAMILIES.map(([name]) => name));
        const wrong = [...used].filter((name) => !known.has(name)).map((name) => `${name} is nobody's`);
        const drawn = asText(dashboard);
        wrong.push(...[...known].filter((name) => !drawn.includes(name)).map((name) => `no panel shows ${name}`));
        if (wrong.length) throw new Error(wrong.join('\n'));
        return `${used.size} metrics`;
    });
    await check('hookbell ends in peace', async () => {
        if (home.service.ended) throw new Error(`hookbell has ended:\n${home.service.lines.slice(-10).join('\n')}`);
        const code = await home.service.stop();
        if (code !== 0) throw new Error(`exit ${code}`);
    });
} catch (error) {
    tally.failed += 1;
    console.log(`FAILED  ${error.stack ?? error}`);
} finally {
    if (prometheus && prometheus.exitCode === null) {
        prometheus.kill('SIGTERM');
        const late = setTimeout(() => prometheus.kill('SIGKILL'), 10_000);
        await prometheus.ended;
        clearTimeout(late);
    }
    await home?.stop();
    rmSync(work, { recursive: true, force: true });
}
console.log(`${tally.passed} passed, ${tally.failed} failed`);
process.exitCode = tally.failed ? 1 : 0;

function asText(dashboard) {
    return questions(dashboard).map(([, expression]) => expression).join('\n');
}

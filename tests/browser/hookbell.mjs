// A real hookbell in a directory of its own: its configuration, its processes, what is signed and sent to it.
// Also what scripts/test-metrics starts. Knows nothing of browsers.

import { spawn, execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request as plainRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const SECRET = "It's a Secret to Everybody";
/** Nothing takes this long unless it is broken. */
const PATIENCE_MS = 30_000;

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Asks until the answer is true enough, and returns it. */
export async function until(what, ask, withinMs = PATIENCE_MS, everyMs = 25) {
    const deadline = Date.now() + withinMs;
    for (;;) {
        const answer = await ask();
        if (answer) return answer;
        if (Date.now() > deadline) throw new Error(`${what} did not happen within ${withinMs} ms`);
        await pause(everyMs);
    }
}

/** A port that was free a moment ago. */
export function freePort() {
    return new Promise((found, failed) => {
        const server = createServer().once('error', failed);
        server.listen(0, '127.0.0.1', () => {
            const { port } = server.address();
            server.close(() => found(port));
        });
    });
}

/** One request; its status, headers and text. The moment of the answer is when its head was there. */
export function ask(url, { method = 'GET', headers = {}, body } = {}) {
    return new Promise((answered, failed) => {
        const request = plainRequest(url, { method, headers, agent: false, timeout: PATIENCE_MS }, (response) => {
            const at = Date.now();
            const parts = [];
            response.on('data', (part) => parts.push(part));
            response.on('error', failed);
            response.on('end', () =>
                answered({ status: response.statusCode, headers: response.headers, text: Buffer.concat(parts).toString(), at }));
        });
        request.on('timeout', () => request.destroy(new Error(`no answer from ${url}`)));
        request.on('error', failed);
        request.end(body);
    });
}

export async function json(url, options) {
    const answer = await ask(url, options);
    if (answer.status !== 200) throw new Error(`${url} answered ${answer.status}: ${answer.text.slice(0, 200)}`);
    return JSON.parse(answer.text);
}

/** A child whose lines are kept. */
class Service {
    constructor(name, program, commandLine, options, from = 'stderr') {
        this.name = name;
        this.lines = [];
        this.ended = false;
        this.child = spawn(program, commandLine, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
        this.end = new Promise((done) => this.child.once('close', (code, signal) => ((this.ended = true), done(code ?? signal))));
        this.child.once('error', (error) => this.lines.push(String(error)));
        createInterface({ input: this.child[from] }).on('line', (line) => this.lines.push(line));
        this.child[from === 'stderr' ? 'stdout' : 'stderr'].resume();
    }

    line(part) {
        return until(`${this.name}: a line with ${JSON.stringify(part)}`, () => {
            const found = this.lines.find((line) => line.includes(part));
            if (!found && this.ended) throw new Error(`${this.name} has ended:\n${this.lines.slice(-20).join('\n')}`);
            return found;
        });
    }

    async stop() {
        if (this.ended) return this.end;
        this.child.kill('SIGTERM');
        const late = setTimeout(() => this.child.kill('SIGKILL'), 10_000);
        const code = await this.end;
        clearTimeout(late);
        return code;
    }
}

export class Hookbell {
    /**
     * Starts `run` and a stand-in for Slack (`catch --slack`), which answers after `slackMs`. `rules` and `more` stand at
     * the end of the configuration, `token` protects the panel.
     */
    static async start(binary, { more = '', token, slackMs = 0, rules = '' } = {}) {
        const self = new Hookbell();
        self.binary = binary;
        self.directory = mkdtempSync(join(tmpdir(), 'hookbell-panel-'));
        mkdirSync(join(self.directory, 'bodies'));
        self.environment = {
            PATH: process.env.PATH,
            HOME: self.directory,
            TZ: 'UTC',
            HOOKBELL_CONFIG: join(self.directory, 'hookbell.toml'),
            GITHUB_WEBHOOK_SECRET: SECRET,
            ARCHIVE_SECRET: `whsec_${Buffer.from(SECRET).toString('base64')}`,
        };
        if (token) self.environment.HOOKBELL_PANEL_TOKEN = token;
        const options = { cwd: self.directory, env: self.environment };
        try {
            const bin = ['catch', '--slack', '--json', '--delay', String(slackMs), '--listen', `127.0.0.1:${await freePort()}`];
            self.slack = new Service('the stand-in for Slack', binary, bin, options);
            const slack = `http://${bin.at(-1)}/services/T000/B000/panel`;
            self.environment.SLACK_WEBHOOK_URL = slack;
            await until('the stand-in for Slack', () => ask(slack).then(() => true, () => self.slack.ended && self.slack.line('')));
            writeFileSync(self.environment.HOOKBELL_CONFIG, `
[door]
listen = "127.0.0.1:0"
[store]
path = "hookbell.db"
free_min = 0
[panel]
listen = "127.0.0.1:0"
${token ? 'token = { env = "HOOKBELL_PANEL_TOKEN" }' : ''}
[health]
tell_after = "never"
[sources.github]
provider = "github"
secret = { env = "GITHUB_WEBHOOK_SECRET" }
[sinks.slack]
kind = "slack"
webhook_url = { env = "SLACK_WEBHOOK_URL" }
interval = "0 s"
[sinks.bell]
kind = "bell"
[bell]
board = "simulated"
leds = { red = 17, green = 27, blue = 22 }
buzzer = { pin = 18, type = "passive" }
${rules}
${more}
`);
            self.service = new Service('hookbell', binary, ['run'], options);
            await self.service.line('ready version=');
            const address = async (words) => (await self.service.line(words)).match(/address=(http:\/\/[^\s/]+)/)[1];
            self.panel = await address('panel address=');
            self.door = `${await address('listening address=')}/webhooks/github`;
        } catch (error) {
            await self.stop();
            throw error;
        }
        return self;
    }

    get pid() {
        return this.service.child.pid;
    }

    async stop() {
        const code = await this.service?.stop();
        await this.slack?.stop();
        rmSync(this.directory, { recursive: true, force: true });
        return code;
    }

    /** `hookbell COMMAND…` in this home, to its end. */
    command(...words) {
        return new Promise((done) =>
            execFile(this.binary, words, { cwd: this.directory, env: this.environment, maxBuffer: 1 << 26 }, (error, stdout, stderr) =>
                done({ code: error ? error.code : 0, stdout, stderr })));
    }

    /** Samples, signed by `hookbell send`; its report. */
    async send(sample, ...more) {
        const sent = await this.command('send', 'github', sample, '--to', this.door, '--json', ...more);
        if (sent.code !== 0 && !more.includes('--may-fail')) throw new Error(`hookbell send ${sample}: ${sent.stderr || sent.stdout}`);
        return JSON.parse(sent.stdout.trim().split('\n').at(-1));
    }

    /** A body of the test's own under an id of its own, signed as GitHub signs: the answer, and when it came. */
    async post(event, id, body, { secret = SECRET, headers = {} } = {}) {
        const bytes = Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
        const signature = createHmac('sha256', secret).update(bytes).digest('hex');
        const answer = await ask(this.door, {
            method: 'POST',
            headers: {
                'Content-Type': 'application/json',
                'Content-Length': bytes.length,
                'User-Agent': 'GitHub-Hookshot/0000000',
                'X-GitHub-Event': event,
                'X-GitHub-Delivery': id,
                'X-Hub-Signature-256': `sha256=${signature}`,
                ...headers,
            },
            body: bytes,
        });
        const told = (() => {
            try {
                return JSON.parse(answer.text);
            } catch {
                return {};
            }
        })();
        return { status: answer.status, at: answer.at, id: told.event_id, word: told.status };
    }

    api(path, options) {
        return json(`${this.panel}/api/${path}`, options);
    }

    /** Until every delivery is where it belongs and the desk is still. */
    async settle() {
        await until('all deliveries settled', async () => (await this.api('deliveries?status=pending&limit=1')).deliveries.length === 0);
        await this.still();
    }

    still() {
        return until('the desk is still', async () => {
            const desk = await this.api('desk');
            return desk.playing === null && desk.queued === 0;
        });
    }
}

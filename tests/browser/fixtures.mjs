// What is sent: a small story that is the same on each run, for the pictures; and what nobody should send.

const actor = (login) => ({ login, id: 1000 + login.length, html_url: `https://github.com/${login}`, type: 'User' });
const repository = {
    id: 901234, name: 'desk-lamp', full_name: 'acme/desk-lamp', private: false, owner: { login: 'acme' },
    html_url: 'https://github.com/acme/desk-lamp', default_branch: 'main',
};
const home = repository.html_url;

export function pullRequest(action, number, title, more = {}) {
    return {
        action, number,
        pull_request: {
            id: 7_000_000 + number, html_url: `${home}/pull/${number}`, number, state: action === 'closed' ? 'closed' : 'open', title,
            user: actor('ada-lights'), labels: [{ name: 'enhancement' }], draft: false,
            head: { ref: `work/${number}`, sha: '5c1e'.repeat(10) }, base: { ref: 'main' },
            merged: false, merged_by: null, additions: 41, deletions: 7, changed_files: 3, ...more,
        },
        repository, sender: actor('brass-otto'),
    };
}

const issue = (number, title) => ({
    action: 'opened',
    issue: {
        html_url: `${home}/issues/${number}`, id: 8_000_000 + number, number, title, user: actor('cyan-mira'),
        labels: [{ name: 'good first issue' }], state: 'open', comments: 0, body: 'Seen on the second desk from the window.',
    },
    repository, sender: actor('cyan-mira'),
});

const run = (conclusion) => ({
    action: 'completed',
    workflow_run: {
        id: 9_000_271, name: 'CI', head_branch: 'main', head_sha: '5c1e'.repeat(10), display_title: 'Dim the lamp at dusk',
        run_number: 271, run_attempt: 1, event: 'push', status: 'completed', conclusion, html_url: `${home}/actions/runs/9000271`,
        actor: actor('ada-lights'), head_repository: { full_name: 'acme/desk-lamp' },
    },
    workflow: { name: 'CI' }, repository, sender: actor('ada-lights'),
});

const push = {
    ref: 'refs/heads/main', before: 'a0'.repeat(20), after: '5c1e'.repeat(10), pusher: { name: 'ada-lights' }, created: false,
    deleted: false, forced: false, compare: `${home}/compare/a0a0a0a0a0a0...5c1e5c1e5c1e`,
    commits: [{ id: '5c1e'.repeat(10), message: 'Dim the lamp at dusk', distinct: true }],
    head_commit: { id: '5c1e'.repeat(10), message: 'Dim the lamp at dusk', distinct: true }, repository, sender: actor('ada-lights'),
};

const release = {
    action: 'published',
    release: { html_url: `${home}/releases/tag/v1.4.0`, id: 6_000_140, tag_name: 'v1.4.0', name: 'Lamp v1.4.0', draft: false, prerelease: false },
    repository, sender: actor('ada-lights'),
};

/** In this order: GitHub's word, the body. What the lists show of it is in TITLES. */
export const STORY = [
    ['ping', { zen: 'A small light is still a light.', hook_id: 5, repository, sender: actor('ada-lights') }],
    ['pull_request', pullRequest('opened', 41, 'Dim the lamp at dusk')],
    ['issues', issue(42, 'The buzzer hums when the heating starts')],
    ['push', push],
    ['workflow_run', run('failure')],
    ['star', { action: 'created', starred_at: '2026-11-22T10:00:00Z', repository, sender: actor('dusk-walker') }],
    ['pull_request', 'this is signed and is no JSON'],
    ['release', release],
    ['pull_request', pullRequest('closed', 41, 'Dim the lamp at dusk', { merged: true, merged_by: actor('brass-otto') })],
];
/** What a reader finds in the list of deliveries and in that of events. */
export const TITLES = ['Dim the lamp at dusk', 'The buzzer hums when the heating starts'];
/** The id of the merge, which goes to both sinks. */
export const MERGE = STORY.length;
/** The id of the release, which goes to Slack alone: what the desk does beside it comes in one order or the other. */
export const RELEASE = STORY.findIndex(([event]) => event === 'release') + 1;
export const guid = (number) => `5eed0000-0000-4000-8000-${String(number).padStart(12, '0')}`;

/** Rules as somebody would write them: one that silences, one that says which cue. And a failure that stays lit. */
export const RULES = `
[[rules]]
name = "quiet bots"
when = { source = "github", actor = ["*[bot]"] }
to = []
stop = true
[[rules]]
name = "merges"
when = { kind = "pr_merged" }
to = ["slack", "bell"]
cue = "pr_merged"
[[rules]]
name = "releases"
when = { kind = "release_published", repository = "acme/*" }
to = ["slack"]
[[rules]]
name = "the rest that matters"
when = { kind = ["issue_opened", "pr_opened", "repo_starred", "ci_failed"] }
to = ["slack", "bell"]
[cues.ci_failed]
latch = true
latch_pattern = "solid"
`;

// ---- what nobody should send -----------------------------------------------------------------------------------------

/** Each of these sets window.broken when a page takes text for markup. */
const MARKUP = [
    '<script>window.broken=1</script>',
    '</title></script></style></textarea></pre><script>window.broken=2</script>',
    '<img src=x onerror="window.broken=3">',
    '"><svg onload=window.broken=4>',
    "' autofocus onfocus='window.broken=5' x='",
    '` onmouseover=`window.broken=6`',
    '<iframe srcdoc="<script>parent.broken=7</script>"></iframe>',
    '<a href="javascript:window.broken=8">here</a>',
    '<style>*{display:none}</style><base href="http://192.0.2.1/"><meta http-equiv=refresh content="0;url=http://192.0.2.1/">',
    '{{constructor.constructor("window.broken=9")()}} ${window.broken=10} <!-- --!> ]]> &lt;script&gt; &#60;b&#62;',
].join(' ');
const CONTROL = Array.from({ length: 32 }, (_, code) => String.fromCharCode(code)).join('') + '\u007f\u0080\u0085\u009f\u2028\u2029\ufeff';
const BIDI = 'left \u202eevitaroced\u202c \u2066isolated\u2069 \u2067right\u2069 \u200e\u200f\u061c \u202aembedded\u202b end';
const ZALGO = `Z${'\u0301\u0489\u0335'.repeat(30)} ${'W'.repeat(3000)}`;

const every = (title) => ({
    ...pullRequest('opened', 77, title, {
        html_url: `javascript:window.broken=20//${title.slice(0, 40)}`, user: actor(title), head: { ref: title, sha: title }, base: { ref: title },
        labels: [{ name: title }],
    }),
    repository: { ...repository, full_name: title, name: title, html_url: `data:text/html,${title.slice(0, 40)}` },
    sender: { ...actor(title), html_url: 'javascript:window.broken=21' },
    [title]: { [title]: [title, null, true, 1e300] },
});

const nested = (depth) => '['.repeat(depth) + ']'.repeat(depth);

/** A name, GitHub's word, the body, headers beside the usual. */
export const HOSTILE = [
    ['markup', 'pull_request', every(MARKUP)],
    ['markup in headers', MARKUP.slice(0, 120), { action: MARKUP }, { 'X-GitHub-Delivery': `${MARKUP.slice(0, 100)}`, 'User-Agent': MARKUP.slice(0, 300) }],
    ['control characters', 'pull_request', every(`start ${CONTROL} end`)],
    ['bidi overrides', 'pull_request', every(BIDI)],
    ['endless words', 'pull_request', every(ZALGO)],
    ['10 000 keys', 'pull_request', { ...pullRequest('opened', 78, 'Many keys'), ...Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`key <b>${n}</b>`, n])) }],
    ['deep', 'pull_request', `{"action":"opened","a":${nested(120)}}`],
    ['too deep', 'pull_request', nested(100_000)],
    ['not UTF-8', 'pull_request', Buffer.concat([Buffer.from('{"action":"'), Buffer.from([0xff, 0xfe, 0xc0, 0x80, 0xed, 0xa0, 0x80]), Buffer.from(MARKUP)])],
    ['a lone surrogate', 'pull_request', `{"action":"opened","title":"\\ud800 \\u0000 ${'\\u202e'}"}`],
    ['20 MB', 'pull_request', { ...pullRequest('opened', 79, 'Twenty megabytes'), filling: `${MARKUP} `.repeat(Math.ceil(20e6 / (MARKUP.length + 1))) }],
    ['20 MB without a break', 'push', { ...push, filling: 'W'.repeat(20e6) }],
];
/** What a page must replace before it shows it. */
export const UNSHOWABLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]/;

// GitHub's published description (OpenAPI 3.0) as a judge of exchanges. Knows nothing of hookbell.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Stands before the digits of a number that JavaScript would harm. */
const EXACT = '\ue000';
const INT64_MAX = 2n ** 63n - 1n;
/** What is the same in JSON Schema. */
const SAME = ['required', 'enum', 'pattern', 'minLength', 'maxLength', 'minItems', 'maxItems', 'uniqueItems', 'minimum', 'maximum'];
const FORMATS = ['uri', 'date-time', 'date', 'email', 'uuid'];
const METHODS = ['get', 'put', 'post', 'patch', 'delete'];
/** What GitHub says wherever it likes; most operations do not describe it. */
const ANYWHERE = /^(304|401|403|404|422|429|5\d\d)$/;

/** Reads JSON, and keeps numbers of 16 digits and more as they are written. */
export function parse(text) {
    const number = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
    return JSON.parse(text.replaceAll(number, (token) => (/^-?\d{16,}$/.test(token) ? `"${EXACT}${token}"` : token)));
}

/** A template without its names. */
const shape = (template) => template?.replaceAll(/\{[^}]+\}/g, '{}');

const isExact = (value) => typeof value === 'string' && value.startsWith(EXACT);

function isInteger(value) {
    if (!isExact(value)) return Number.isInteger(value);
    const exact = BigInt(value.slice(EXACT.length));
    return exact <= INT64_MAX && exact >= -INT64_MAX - 1n;
}

/**
 * A schema of OpenAPI 3.0 as one of JSON Schema. A closed one refuses what it does not list. One of several is any of them:
 * GitHub's own `public-event` is every object, so that no event would be only one kind.
 */
function convert(schema, closed) {
    if (typeof schema !== 'object') return schema;
    const many = (list, close) => list.map((one) => convert(one, close));
    const out = {};
    if (schema.$ref) out.$ref = `${closed ? 'closed' : 'open'}${schema.$ref}`;
    if (schema.type === 'integer') out.wholeNumber = true;
    else if (schema.type === 'number') out.numeric = true;
    else if (schema.type === 'string') out.text = true;
    else if (schema.type) out.type = schema.type;
    for (const key of SAME) if (key in schema) out[key] = schema[key];
    if (FORMATS.includes(schema.format)) out.format = schema.format;
    if (schema.items) out.items = convert(schema.items, closed);
    if (schema.not) out.not = convert(schema.not, false);
    if (schema.allOf) out.allOf = many(schema.allOf, false);
    for (const key of ['oneOf', 'anyOf']) if (schema[key]) out.anyOf = many(schema[key], closed);
    if (schema.properties) {
        out.properties = Object.fromEntries(Object.entries(schema.properties).map(([name, one]) => [name, convert(one, closed)]));
        if (closed) out.additionalProperties = false;
    }
    if ('additionalProperties' in schema) out.additionalProperties = convert(schema.additionalProperties, closed);
    return schema.nullable ? { anyOf: [{ type: 'null' }, out] } : out;
}

export class Description {
    /** From what npm has installed there. */
    constructor(modules) {
        const require = createRequire(join(modules, 'package.json'));
        const Ajv = require('ajv').default;
        this.all = JSON.parse(readFileSync(join(modules, 'node_modules/@octokit/openapi/generated/api.github.com.json'), 'utf8'));
        this.ajv = new Ajv({ strict: false, allErrors: true, unicodeRegExp: false });
        require('ajv-formats').default(this.ajv);
        const keyword = (name, what, validate) =>
            this.ajv.addKeyword({ keyword: name, validate: (_, value) => validate(value), error: { message: `must be ${what}` } });
        keyword('wholeNumber', 'an integer of 64 bits', isInteger);
        keyword('text', 'text', (value) => typeof value === 'string' && !isExact(value));
        keyword('numeric', 'a number', (value) => typeof value === 'number' || isExact(value));
        for (const [name, closed] of [['open', false], ['closed', true]]) {
            const { schemas } = this.all.components;
            const converted = Object.fromEntries(Object.entries(schemas).map(([key, schema]) => [key, convert(schema, closed)]));
            this.ajv.addSchema({ $id: name, components: { schemas: converted } });
        }
        this.validators = new Map();
        this.templates = Object.keys(this.all.paths).map((template) => {
            const pattern = template.replaceAll(/[.*+?^$()|[\]\\]/g, '\\$&').replaceAll(/\{[^}]+\}/g, '[^/]+');
            return { template, pattern: new RegExp(`^${pattern}$`) };
        });
    }

    get version() {
        return this.all.info.version;
    }

    resolve(thing) {
        if (!thing?.$ref) return thing;
        return thing.$ref.split('/').slice(1).reduce((at, key) => at[key], this.all);
    }

    /** The operation, as `GET /repos/{owner}/{repo}/hooks`, or what is wrong with the path. */
    operation(method, path) {
        // Where links lead; the description knows repositories and organisations by their names only.
        const named = path.replace(/^\/repositories\/\d+\//, '/repos/o/r/').replace(/^\/organizations\/\d+\/hooks/, '/orgs/o/hooks');
        const found = this.templates.filter(({ pattern }) => pattern.test(named)).map(({ template }) => template);
        // What is written out counts before what may be anything, from the left: a brace comes after every letter.
        const [template, other] = found.sort();
        if (!template || shape(template) === shape(other)) throw new Error(`${path} is the path of ${found.length} operations`);
        const item = this.all.paths[template];
        const operation = METHODS.includes(method.toLowerCase()) && item[method.toLowerCase()];
        if (!operation) throw new Error(`${template} has no ${method}`);
        const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map((one) => this.resolve(one));
        const values = named.split('/');
        for (const [at, segment] of template.split('/').entries()) {
            const parameter = parameters.find((one) => one.in === 'path' && segment === `{${one.name}}`);
            if (parameter) this.judgeText(parameter, decodeURIComponent(values[at]));
        }
        return { name: `${method} ${template}`, operation, parameters };
    }

    /** Everything that is wrong with an exchange; its operation's name. */
    judge({ method, path, query, request, status, headers, response }) {
        const wrong = [];
        const say = (judge) => {
            try {
                return judge();
            } catch (error) {
                wrong.push(error.message);
            }
        };
        const found = say(() => this.operation(method, path));
        if (!found) return { wrong };
        const { name, operation, parameters } = found;
        for (const [key, value] of new URLSearchParams(query)) {
            const parameter = parameters.find((one) => one.in === 'query' && one.name === key);
            if (parameter) say(() => this.judgeText(parameter, value));
            else wrong.push(`the query has ${key}, which is not described`);
        }
        say(() => this.judgeRequest(name, operation, request));
        say(() => this.judgeResponse(name, operation, String(status), headers, response));
        return { name, wrong };
    }

    judgeText({ name, schema }, text) {
        const { type, enum: values } = this.resolve(schema);
        const isIt = { integer: /^-?\d{1,19}$/, boolean: /^(true|false)$/ }[type] ?? /./;
        if (!isIt.test(text) || (type === 'integer' && !isInteger(`${EXACT}${text}`))) throw new Error(`${name}=${text} is no ${type}`);
        if (values && !values.includes(text)) throw new Error(`${name}=${text} is none of ${values.join(', ')}`);
    }

    judgeRequest(name, operation, body) {
        const described = this.resolve(operation.requestBody);
        const schema = described?.content['application/json']?.schema;
        if (body === null && !described?.required) return;
        if (!schema) throw new Error('the request has a body, and none is described');
        this.validate(`${name} request`, schema, body);
    }

    judgeResponse(name, operation, status, headers, body) {
        const described = this.resolve(operation.responses[status]);
        if (!described && !ANYWHERE.test(status)) throw new Error(`status ${status} is not described`);
        for (const header of Object.keys(described?.headers ?? {})) {
            // A list that fits on one page has no links.
            if (header !== 'Link' && !(header.toLowerCase() in headers)) throw new Error(`the response has no ${header}`);
        }
        let schema = described?.content?.['application/json']?.schema;
        if (!described && status !== '304') schema = { $ref: '#/components/schemas/basic-error' };
        if (!schema) {
            if (body !== null) throw new Error(`${status} has a body, and none is described`);
            return;
        }
        if (status >= '400' && typeof body?.message !== 'string') throw new Error(`the body of ${status} has no message`);
        // Every error of GitHub's says its status once more, and only some of its descriptions do.
        if (status >= '400') body = { ...body, status: undefined };
        this.validate(`${name} ${status}`, schema, JSON.parse(JSON.stringify(body)));
    }

    validate(key, schema, value) {
        if (!this.validators.has(key)) this.validators.set(key, this.ajv.compile(convert(schema, true)));
        const validate = this.validators.get(key);
        if (validate(value)) return;
        const words = validate.errors.map((error) => {
            const extra = error.params.additionalProperty ? `: ${error.params.additionalProperty}` : '';
            return `${error.instancePath || '(all of it)'} ${error.message}${extra}`;
        });
        throw new Error(`${key.split(' ').at(-1) === 'request' ? 'the request' : 'the response'}: ${[...new Set(words)].join('; ')}`);
    }
}

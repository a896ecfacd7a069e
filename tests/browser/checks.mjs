// How checks are done and told: one line for each, and what came of all.

/** `check(name, judge)` does one; what `judge` returns stands in its line. `tally` has how many passed and failed. */
export function checks() {
    const tally = { passed: 0, failed: 0 };
    const check = async (name, judge) => {
        const since = Date.now();
        try {
            const said = await judge();
            tally.passed += 1;
            console.log(`ok      ${name}${said ? `: ${said}` : ''} (${((Date.now() - since) / 1000).toFixed(1)} s)`);
        } catch (error) {
            tally.failed += 1;
            console.log(`FAILED  ${name}: ${String(error?.message ?? error).replaceAll('\n', '\n        ')}`);
            // What is wrong with the check itself is found by where it broke.
            if (!(error instanceof Error) || /is not a function|undefined|not defined/.test(error.message)) console.log(error);
        }
    };
    return { check, tally };
}

// How Node-RED is run by scripts/bench, and nothing else: without its editor, which nobody uses while it is measured.
// Everything that is not named here is Node-RED's own default.
module.exports = {
    flowFile: "flows.json",
    userDir: __dirname,
    uiHost: "127.0.0.1",
    uiPort: Number(process.env.PORT),
    httpAdminRoot: false,
    disableEditor: true,
    functionGlobalContext: { crypto: require("crypto"), secret: process.env.SECRET },
    logging: { console: { level: "info", metrics: false, audit: false } },
};

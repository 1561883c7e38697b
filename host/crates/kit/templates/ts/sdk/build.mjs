// Makes a component of src/plugin.ts: checks the types, bundles, and puts QuickJS around it, without WASI.
// `jackfield plugin build` runs this and adds the manifest; `npm run build` alone is good for looking at errors.
//
// Ends with 2 when the types are wrong, 3 when the sources cannot be bundled, 4 when no component can be made of them.
import { spawn } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { componentize } from "componentize-qjs";
import { build } from "esbuild";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const [output = join(root, "build/component.wasm")] = process.argv.slice(2);

/** The compiler's own words, in its own colours; they are what people search the web for. */
function checkTypes() {
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const colours = process.stdout.isTTY ? ["--pretty"] : [];
    return new Promise((done) => {
        const child = spawn(process.execPath, [tsc, "-p", root, ...colours], { cwd: root });
        const said = [];
        child.stdout.on("data", (data) => said.push(data));
        child.stderr.on("data", (data) => said.push(data));
        child.on("error", (error) => done({ code: 1, said: String(error) }));
        child.on("close", (code) => done({ code, said: Buffer.concat(said).toString() }));
    });
}

async function bundle() {
    const built = await build({
        absWorkingDir: root,
        entryPoints: ["src/plugin.ts"],
        bundle: true,
        write: false,
        format: "esm",
        platform: "neutral",
        mainFields: ["module", "main"],
        target: "es2023",
        external: ["jackfield:*"],
        logLevel: "silent",
    });
    return built.outputFiles[0].text;
}

function end(code, said) {
    process.stderr.write(said.endsWith("\n") ? said : `${said}\n`);
    process.exit(code);
}

/** plugin.toml says what the plugin is; its world has that name. */
async function world() {
    const text = await readFile(join(root, "plugin.toml"), "utf8");
    const kind = /^kind\s*=\s*["']([a-z-]+)["']/m.exec(text)?.[1];
    return kind ?? end(4, `plugin.toml has no line kind = "router" (or "wait-treatment", "observer", "connector")`);
}

const types = checkTypes();
const source = await bundle().catch(async (error) => {
    const { code, said } = await types;
    const problems = error.errors?.map(({ text, location: at }) => (at ? `${at.file}:${at.line}:${at.column + 1}: ${text}` : text));
    return code === 0 ? end(3, problems?.join("\n") ?? String(error)) : end(2, said);
});
// Line numbers in an exception's stack are this file's.
await mkdir(join(root, "build"), { recursive: true });
await writeFile(join(root, "build/bundle.js"), source);
const made = await componentize({
    witPath: join(root, "wit"),
    world: await world(),
    jsSource: source,
    sync: true,
    stubWasi: true,
}).catch((error) => error);
const { code, said } = await types;
if (code !== 0) end(2, said);
if (made instanceof Error) end(4, made.message);
await mkdir(dirname(output), { recursive: true });
await writeFile(output, made.component);

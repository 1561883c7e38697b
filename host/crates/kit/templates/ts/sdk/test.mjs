// Runs test/*.test.ts in node, without a host: each is bundled with a stand-in for the host's log, then `node --test`.
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const outdir = join(root, "build/test");
const tests = readdirSync(join(root, "test")).filter((name) => name.endsWith(".test.ts"));
if (tests.length === 0) {
    console.error("there is no test/*.test.ts");
    process.exit(1);
}
rmSync(outdir, { recursive: true, force: true });
const built = await build({
    absWorkingDir: root,
    entryPoints: tests.map((name) => join("test", name)),
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    outdir,
    outExtension: { ".js": ".mjs" },
    sourcemap: "inline",
    alias: { "jackfield:log/log@0.1.0": join(root, "sdk/testing/host.ts") },
}).catch(() => null);
if (built === null) process.exit(1);
const files = tests.map((name) => join(outdir, name.replace(/\.ts$/, ".mjs")));
const run = spawnSync(process.execPath, ["--enable-source-maps", "--test", "--test-reporter=spec", ...process.argv.slice(2), ...files], { stdio: "inherit", cwd: root });
process.exit(run.status ?? 1);

/** Builds the page into dist/, or into the folder that is named: `node build.mjs [FOLDER]`. */
import { copyFileSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const to = process.argv[2] ?? join(here, "dist");

rmSync(to, { recursive: true, force: true });
mkdirSync(to, { recursive: true });
await build({
  entryPoints: { playground: join(here, "src/main.ts") },
  outdir: to,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
});
copyFileSync(join(here, "src/index.html"), join(to, "index.html"));
const examples = join(here, "examples");
for (const file of readdirSync(examples)) copyFileSync(join(examples, file), join(to, file));

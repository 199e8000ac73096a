// Does the dashboard fit Grafana's own types? Every setting of every panel must be one that Grafana knows, with a value
// that it knows. What belongs to the data source, queries and annotations, has no types there.
//
// node check.mjs DASHBOARD.json NODE_MODULES
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

const [file, modules] = process.argv.slice(2);
const { panels, annotations, ...dashboard } = JSON.parse(fs.readFileSync(file, "utf8"));
const kinds = [...new Set(panels.map((panel) => panel.type).filter((type) => type !== "row"))];
const name = (kind) => kind.replace("-", "");

// Grafana writes its enumerations as their values, and leaves out what has its usual value.
const plain = `
type Plain<T> = unknown extends T ? T
  : T extends string ? \`\${T}\`
  : T extends object ? { [K in keyof T]?: Plain<T[K]> } : T;
`;

function program(version) {
  const types = path.join(modules, `schema-${version}`, "dist", version === 11 ? "esm" : "types", "raw");
  const module = (folder) => {
    const at = path.join(types, folder);
    const found = fs.readdirSync(at).find((each) => /types\.gen\.d\.ts$|_types\.gen\.d\.ts$/.test(each));
    return JSON.stringify("./" + path.relative(modules, path.join(at, found.replace(".d.ts", ""))));
  };
  const lines = [`import type { Dashboard, Panel, RowPanel } from ${module("dashboard/x")};`];
  for (const kind of kinds) {
    lines.push(`import type * as ${name(kind)} from ${module(`composable/${name(kind)}/panelcfg/x`)};`);
  }
  lines.push(plain, `export const dashboard: Plain<Dashboard> = ${JSON.stringify(dashboard)};`);
  panels.forEach((panel, number) => {
    const say = (what, type, value) =>
      lines.push(`export const ${what}${number}: Plain<${type}> = ${JSON.stringify(value)}; // ${panel.title}`);
    const { targets, ...rest } = panel;
    say("panel", panel.type === "row" ? "RowPanel" : "Panel", rest);
    if (panel.type === "row") return;
    say("options", `${name(panel.type)}.Options`, panel.options);
    const { custom } = panel.fieldConfig.defaults;
    if (custom) say("custom", `${name(panel.type)}.FieldConfig`, custom);
  });
  return lines.join("\n") + "\n";
}

for (const version of [11, 12]) {
  const source = path.join(modules, `dashboard-${version}.ts`);
  fs.writeFileSync(source, program(version));
  const compiler = path.join(modules, "typescript", "bin", "tsc");
  const flags = ["--noEmit", "--strict", "--skipLibCheck", "--moduleResolution", "bundler", "--module", "esnext"];
  try {
    execFileSync(process.execPath, [compiler, ...flags, source], { encoding: "utf8", cwd: modules });
  } catch (error) {
    console.error(`the dashboard does not fit Grafana ${version}:\n${error.stdout}`);
    process.exit(1);
  }
}
console.log(`${panels.length} panels and rows fit the types of Grafana 11 and 12`);

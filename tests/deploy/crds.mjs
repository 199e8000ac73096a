// Checks custom resources against the schemas of their projects, as the packages of @kubernetes-models carry them.
//
// Standard input: a JSON list of objects. Standard output: a JSON list with, for each, a list of what is wrong.
// $CRD_PACKAGES: the folder with node_modules.
import { pathToFileURL } from "node:url";
import { text } from "node:stream/consumers";

const packages = {
  "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
  "keda.sh/v1alpha1": "@kubernetes-models/keda/keda.sh/v1alpha1",
  "gateway.envoyproxy.io/v1alpha1": "@kubernetes-models/envoy-gateway/gateway.envoyproxy.io/v1alpha1",
  "gateway.networking.k8s.io/v1": "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1",
};
const root = process.env.CRD_PACKAGES;

// The compiled schemas ignore fields that they do not know, as an API server would silently drop them. They read every
// field that they do know, so a field that was not read is misspelt.
function watched(value, path, seen) {
  if (value === null || typeof value !== "object") return value;
  const inner = Object.create(null);
  return new Proxy(value, {
    get(target, key) {
      if (typeof key === "string" && Object.hasOwn(target, key) && key !== "length") {
        seen.add(`${path}/${key}`);
        return (inner[key] ??= watched(target[key], `${path}/${key}`, seen));
      }
      return target[key];
    },
  });
}

function fields(value, path = "") {
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([key, item]) => [`${path}/${key}`, ...fields(item, `${path}/${key}`)]);
}

async function problems(object) {
  const folder = packages[object.apiVersion];
  if (!folder) return [`no package carries the schema of ${object.apiVersion} ${object.kind}`];
  const file = `${root}/node_modules/${folder}/${object.kind}.js`;
  const model = (await import(pathToFileURL(file)))[object.kind];
  const seen = new Set();
  // `validate` of a model checks the model itself, which may be a proxy of what was given.
  const checked = watched(Object.assign(new model(object)), "", seen);
  try {
    model.prototype.validate.call(checked);
  } catch (error) {
    return [error.message];
  }
  const unread = fields(object).filter((path) => !seen.has(path));
  return unread.map((path) => `unknown field ${path}`);
}

const answers = [];
for (const object of JSON.parse(await text(process.stdin))) answers.push(await problems(object));
process.stdout.write(JSON.stringify(answers));

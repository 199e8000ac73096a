import { fill, h, place } from "../dom";
import { setToken, token } from "../rpc/token";

/** Shows the field of the bearer token. The token stays in this tab. */
export function access(changed: () => void): void {
  const field = h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false" });
  field.value = token();
  const store = (event: SubmitEvent) => {
    event.preventDefault();
    setToken(field.value.trim());
    details.open = false;
    label();
    changed();
  };
  const summary = h("summary", {});
  const form = h(
    "form",
    { onsubmit: store },
    h("label", { for: "token" }, "Bearer token, where the server asks for one. It is kept in this tab only."),
    h("span", { class: "line" }, field, h("button", { type: "submit" }, "Use")),
  );
  const details = h("details", { class: "popover" }, summary, form);
  const label = () => fill(summary, token() ? "Token set" : "Token");
  label();
  fill(place("access"), details);
}

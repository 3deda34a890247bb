import type { VirtualMachineInstanceSpec } from "../kubevirt/instance-spec.ts";
import { filled } from "./fields.ts";
import { checkAddress, checkForm } from "./names.ts";
import type { Report } from "./report.ts";

/** As many as a resolver reads (Kubernetes' limits). */
const MAX = { nameservers: 3, searches: 6, characters: 256 } as const;

/** The machine's own name, and how it looks up others. */
export function checkNames(spec: VirtualMachineInstanceSpec, at: string, report: Report): void {
  checkForm("label", spec.hostname, `${at}.hostname`, report);
  checkForm("label", spec.subdomain, `${at}.subdomain`, report);
  const { nameservers = [], searches = [], options = [] } = spec.dnsConfig ?? {};
  const field = `${at}.dnsConfig`;
  if (spec.dnsPolicy === "None" && nameservers.length === 0) {
    report.required(`${field}.nameservers`, "must have one at least with dnsPolicy None");
  }
  if (nameservers.length > MAX.nameservers) {
    report.invalid(`${field}.nameservers`, `must have ${MAX.nameservers} items at most`);
  }
  nameservers.forEach((server, index) => {
    checkAddress(server, `${field}.nameservers[${index}]`, report);
  });
  if (searches.length > MAX.searches) {
    report.invalid(`${field}.searches`, `must have ${MAX.searches} items at most`);
  }
  if (searches.join(" ").length > MAX.characters) {
    report.invalid(
      `${field}.searches`,
      `must have ${MAX.characters} characters at most, with blanks`,
    );
  }
  searches.forEach((domain, index) => {
    filled(domain, `${field}.searches[${index}]`, report);
    checkForm("subdomain", domain.replace(/\.$/, ""), `${field}.searches[${index}]`, report);
  });
  options.forEach(({ name }, index) => {
    filled(name, `${field}.options[${index}].name`, report);
  });
}

import type { VirtualMachineInstanceSpec } from "../kubevirt/instance-spec.ts";
import type { Probe } from "../kubevirt/probe.ts";
import { PORTS, exactlyOne, inRange } from "./fields.ts";
import { checkForm } from "./names.ts";
import type { Report } from "./report.ts";

const HANDLERS = ["exec", "guestAgentPing", "httpGet", "tcpSocket"] as const;
const TIMES = [
  "initialDelaySeconds",
  "timeoutSeconds",
  "periodSeconds",
  "successThreshold",
  "failureThreshold",
] as const;

export function checkProbes(spec: VirtualMachineInstanceSpec, at: string, report: Report): void {
  for (const name of ["livenessProbe", "readinessProbe"] as const) {
    const probe = spec[name];
    if (probe !== undefined) checkProbe(probe, `${at}.${name}`, report);
  }
  const success = spec.livenessProbe?.successThreshold ?? 1;
  if (success > 1) report.invalid(`${at}.livenessProbe.successThreshold`, "must be 1");
}

function checkProbe(probe: Probe, at: string, report: Report): void {
  exactlyOne(probe, HANDLERS, at, report);
  const { exec, httpGet, tcpSocket } = probe;
  if (exec !== undefined && (exec.command ?? []).length === 0)
    report.required(`${at}.exec.command`);
  if (httpGet !== undefined) checkPort(httpGet.port, `${at}.httpGet.port`, report);
  if (tcpSocket !== undefined) checkPort(tcpSocket.port, `${at}.tcpSocket.port`, report);
  for (const name of TIMES) {
    if ((probe[name] ?? 0) < 0) report.invalid(`${at}.${name}`, "must not be negative");
  }
}

function checkPort(port: number | string, at: string, report: Report): void {
  if (typeof port === "number") inRange(port, PORTS, at, report);
  else if (port === "") report.required(at);
  else checkForm("portName", port, at, report);
}

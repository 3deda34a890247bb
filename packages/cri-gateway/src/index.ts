export { explainRules } from "./explain-rules.ts";
export { Gateway } from "./gateway.ts";
export type { GatewayCall, GatewayConfig, GatewayDeps } from "./gateway.ts";
export { chooseForPod } from "./routing.ts";
export type { Choice, RoutingConfig, Rule, Untrusted } from "./routing.ts";
export type { UrlImages } from "./url-images.ts";
export type { ViewsGiver } from "./container-views.ts";

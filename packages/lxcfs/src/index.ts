export { nriViews } from "./nri-views.ts";
export { Views } from "./views.ts";

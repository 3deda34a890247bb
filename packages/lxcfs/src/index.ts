export { Views } from "./views.ts";

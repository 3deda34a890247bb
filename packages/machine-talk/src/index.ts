export { Pen } from "./pen.ts";
export type { PenState } from "./pen.ts";
export { toPng } from "./png.ts";
export { takePicture } from "./rfb.ts";

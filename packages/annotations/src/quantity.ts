export { formatQuantity, parseQuantity } from "@trine/base";

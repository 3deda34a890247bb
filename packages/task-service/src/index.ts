export { taskService } from "./task-service.ts";

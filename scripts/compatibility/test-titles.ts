import ts from "typescript";

/** Titles of the tests of a file, without those that are skipped or still to be written. */
export function testTitles(file: string, text: string): ReadonlySet<string> {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest);
  const titles = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && runs(node.expression)) {
      const [title] = node.arguments;
      if (title !== undefined && ts.isStringLiteralLike(title)) titles.add(title.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return titles;
}

/** `test`, `test.each(rows)`, `test.each<Row>(rows)`. */
function runs(called: ts.Expression): boolean {
  if (ts.isIdentifier(called)) return called.text === "test";
  if (!ts.isCallExpression(called) || !ts.isPropertyAccessExpression(called.expression))
    return false;
  const { expression, name } = called.expression;
  return ts.isIdentifier(expression) && expression.text === "test" && name.text === "each";
}

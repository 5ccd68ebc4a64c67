// What directions are called: "pca0", "pca1", … "sefa0", … The twin of gan/directions/naming.py,
// tested on the same table (tests/data/directions.json). Pure; how they are found is the server's.

export const METHODS = ["pca", "sefa"]; // principal components, closed form
export const FIRST_METHOD = METHODS[0];

const NAME = new RegExp(`^(${METHODS.join("|")})(0|[1-9][0-9]{0,3})$`);

/** The method that finds the direction of this name; null for a name of another kind. */
export function methodOf(name) {
  return NAME.exec(name)?.[1] ?? null;
}

/** What a person reads for a name: a key of the texts, with values; null for another kind. */
export function directionLabel(name) {
  const found = NAME.exec(name);
  return found && [`directions.name_${found[1]}`, { number: Number(found[2]) + 1 }];
}

/** The methods that a model's facts offer. */
export function methodsOf(model) {
  return METHODS.filter((method) => (model?.methods ?? [FIRST_METHOD]).includes(method));
}

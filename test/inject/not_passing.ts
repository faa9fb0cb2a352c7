/** Cases of Istio's injection suites that do not pass, with the reason. Checked both ways. */
export const notPassing: ReadonlyMap<string, string> = new Map<string, string>([]);

/** When images are pulled. */
import type { InjectionContext } from '../context.ts';
import type { Container } from '../pod/types.ts';

/** `global.imagePullPolicy`, when it says something. */
export function pullPolicy({ values }: InjectionContext): Pick<Container, 'imagePullPolicy'> {
  const { imagePullPolicy } = values.global;
  return imagePullPolicy === '' ? {} : { imagePullPolicy };
}

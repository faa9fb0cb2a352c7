/**
 * Cuts a set of descriptors down to what is reachable from a list of roots. A field whose type is cut goes with it;
 * the protobuf runtime keeps such fields as unknown ones, so nothing is lost when a message is written again.
 */
import { create } from '@bufbuild/protobuf';
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  EnumOptionsSchema,
  type FieldDescriptorProto,
  FieldDescriptorProto_Type as Type,
  FieldOptionsSchema,
  type FileDescriptorProto,
  MessageOptionsSchema,
  type ServiceDescriptorProto,
} from '@bufbuild/protobuf/wkt';

/** What to keep and what to cut. */
export interface Selection {
  /** Full names of messages and services; `package.*` stands for all of a package. */
  readonly roots: readonly string[];
  /** Messages (full name) and packages (`package.*`) that fields never lead to, and single fields (`Message.field`). */
  readonly cut: readonly string[];
  /** Messages kept without fields: only their presence can be seen. */
  readonly hollow: readonly string[];
}

/** Where each name stands. */
interface Index {
  readonly messages: Map<string, { readonly file: FileDescriptorProto; readonly desc: DescriptorProto }>;
  readonly enums: Map<string, { readonly file: FileDescriptorProto; readonly desc: EnumDescriptorProto }>;
  readonly services: Map<
    string,
    { readonly file: FileDescriptorProto; readonly desc: ServiceDescriptorProto }
  >;
}

function indexFiles(files: Iterable<FileDescriptorProto>): Index {
  const index: Index = { messages: new Map(), enums: new Map(), services: new Map() };
  const addMessage = (prefix: string, file: FileDescriptorProto, desc: DescriptorProto): void => {
    const name = `${prefix}.${desc.name}`;
    index.messages.set(name, { file, desc });
    for (const nested of desc.nestedType) addMessage(name, file, nested);
    for (const nested of desc.enumType) index.enums.set(`${name}.${nested.name}`, { file, desc: nested });
  };
  for (const file of files) {
    for (const desc of file.messageType) addMessage(file.package, file, desc);
    for (const desc of file.enumType) index.enums.set(`${file.package}.${desc.name}`, { file, desc });
    for (const desc of file.service) index.services.set(`${file.package}.${desc.name}`, { file, desc });
  }
  return index;
}

/** The full name a field or method refers to (descriptors write it with a leading dot). */
function typeName(reference: string): string {
  return reference.replace(/^\./, '');
}

function refersToMessage(field: FieldDescriptorProto): boolean {
  return field.type === Type.MESSAGE || field.type === Type.GROUP;
}

/** A name list with `package.*` entries as predicate; every entry must be used by the end. */
class NameList {
  readonly #unused: Set<string>;
  readonly #entries: ReadonlySet<string>;

  constructor(entries: readonly string[]) {
    this.#entries = new Set(entries);
    this.#unused = new Set(entries);
  }

  has(name: string): boolean {
    if (this.#entries.has(name)) {
      this.#unused.delete(name);
      return true;
    }
    for (let dot = name.lastIndexOf('.'); dot > 0; dot = name.lastIndexOf('.', dot - 1)) {
      const entry = `${name.slice(0, dot)}.*`;
      if (this.#entries.has(entry)) {
        this.#unused.delete(entry);
        return true;
      }
    }
    return false;
  }

  unused(): string[] {
    return [...this.#unused];
  }
}

/** The reachable part of `files`, in the order in which files need each other. */
export function trim(
  files: ReadonlyMap<string, FileDescriptorProto>,
  selection: Selection,
): FileDescriptorProto[] {
  const index = indexFiles(files.values());
  const cut = new NameList(selection.cut);
  const hollow = new NameList(selection.hollow);
  const keptMessages = new Set<string>();
  const keptEnums = new Set<string>();
  const keptServices = new Set<string>();

  const keepsField = (message: string, field: FieldDescriptorProto): boolean => {
    if (hollow.has(message) || cut.has(`${message}.${field.name}`)) return false;
    if (!refersToMessage(field)) return true;
    const entry = index.messages.get(typeName(field.typeName));
    if (entry?.desc.options?.mapEntry) {
      const value = entry.desc.field.find((part) => part.number === 2);
      if (value === undefined || !refersToMessage(value)) return true;
      return !cut.has(typeName(value.typeName));
    }
    return !cut.has(typeName(field.typeName));
  };

  const pending: string[] = [];
  for (const root of selection.roots) {
    if (root.endsWith('.*')) {
      const inside = (name: string): boolean => name.startsWith(root.slice(0, -1));
      pending.push(...[...index.messages.keys()].filter(inside));
    } else if (index.services.has(root)) {
      keptServices.add(root);
      for (const method of index.services.get(root)?.desc.method ?? []) {
        pending.push(typeName(method.inputType), typeName(method.outputType));
      }
    } else if (index.enums.has(root)) keptEnums.add(root);
    else pending.push(root);
  }
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (keptMessages.has(name)) continue;
    const entry = index.messages.get(name);
    if (entry === undefined) throw new Error(`no message ${name}`);
    keptMessages.add(name);
    for (const field of entry.desc.field) {
      if (!keepsField(name, field)) continue;
      if (refersToMessage(field)) pending.push(typeName(field.typeName));
      if (field.type === Type.ENUM) keptEnums.add(typeName(field.typeName));
    }
  }

  const cutEnum = (desc: EnumDescriptorProto): void => {
    if (desc.options?.allowAlias) desc.options = create(EnumOptionsSchema, { allowAlias: true });
    else delete desc.options;
    for (const value of desc.value) delete value.options;
    desc.reservedName = [];
    desc.reservedRange = [];
  };

  /** False when nothing of the message is left. */
  const cutMessage = (name: string, desc: DescriptorProto): boolean => {
    desc.nestedType = desc.nestedType.filter((nested) => cutMessage(`${name}.${nested.name}`, nested));
    desc.enumType = desc.enumType.filter((nested) => keptEnums.has(`${name}.${nested.name}`));
    desc.enumType.forEach(cutEnum);
    const kept = keptMessages.has(name);
    desc.field = kept ? desc.field.filter((field) => keepsField(name, field)) : [];
    const oneofs = desc.oneofDecl.map((_, at) => desc.field.some((field) => field.oneofIndex === at));
    const newIndex = oneofs.map((_, at) => oneofs.slice(0, at).filter(Boolean).length);
    desc.oneofDecl = desc.oneofDecl.filter((_, at) => oneofs[at]);
    for (const oneof of desc.oneofDecl) delete oneof.options;
    for (const field of desc.field) {
      if (Object.hasOwn(field, 'oneofIndex')) field.oneofIndex = newIndex[field.oneofIndex] ?? 0;
      const packed = field.options !== undefined && Object.hasOwn(field.options, 'packed');
      if (packed) field.options = create(FieldOptionsSchema, { packed: field.options?.packed ?? false });
      else delete field.options;
    }
    if (desc.options?.mapEntry) desc.options = create(MessageOptionsSchema, { mapEntry: true });
    else delete desc.options;
    desc.extension = [];
    desc.extensionRange = [];
    desc.reservedName = [];
    desc.reservedRange = [];
    return kept || desc.nestedType.length > 0 || desc.enumType.length > 0;
  };

  const usedFiles = (file: FileDescriptorProto): Set<string> => {
    const used = new Set<string>();
    const addFields = (desc: DescriptorProto): void => {
      for (const field of desc.field) {
        const name = typeName(field.typeName);
        const target = index.messages.get(name)?.file ?? index.enums.get(name)?.file;
        if (target !== undefined) used.add(target.name);
      }
      desc.nestedType.forEach(addFields);
    };
    file.messageType.forEach(addFields);
    for (const method of file.service.flatMap((service) => service.method)) {
      for (const reference of [method.inputType, method.outputType]) {
        const target = index.messages.get(typeName(reference))?.file;
        if (target !== undefined) used.add(target.name);
      }
    }
    used.delete(file.name);
    return used;
  };

  const left = new Map<string, FileDescriptorProto>();
  for (const file of files.values()) {
    file.messageType = file.messageType.filter((desc) => cutMessage(`${file.package}.${desc.name}`, desc));
    file.enumType = file.enumType.filter((desc) => keptEnums.has(`${file.package}.${desc.name}`));
    file.enumType.forEach(cutEnum);
    file.service = file.service.filter((desc) => keptServices.has(`${file.package}.${desc.name}`));
    for (const service of file.service) {
      delete service.options;
      for (const method of service.method) delete method.options;
    }
    file.extension = [];
    file.publicDependency = [];
    file.weakDependency = [];
    delete file.options;
    delete file.sourceCodeInfo;
    if (file.messageType.length + file.enumType.length + file.service.length > 0) left.set(file.name, file);
  }

  const unused = [...cut.unused(), ...hollow.unused()];
  if (unused.length > 0) throw new Error(`roots.ts cuts what nothing leads to: ${unused.join(', ')}`);

  const ordered = new Set<FileDescriptorProto>();
  const place = (file: FileDescriptorProto): void => {
    if (ordered.has(file)) return;
    file.dependency = [...usedFiles(file)].sort();
    for (const name of file.dependency) {
      const needed = left.get(name);
      if (needed !== undefined) place(needed);
    }
    ordered.add(file);
  };
  for (const name of [...left.keys()].sort()) {
    const file = left.get(name);
    if (file !== undefined) place(file);
  }
  return [...ordered];
}

/** `trysail.yaml`: what a folder of objects needs to run on one machine. */

/** A program that stands for container images. */
export interface TrysailApp {
  /** Image with tag, `*` for any characters: `example.com/reviews-v2:*`. Required. */
  readonly image: string;
  /**
   * Program and arguments. `node` is the Node that runs trysail; `${PORT}` and `${HOST}` are where to listen. Paths are
   * relative to the folder of the file, in which the program runs. Required.
   */
  readonly command: readonly string[];
  /** Variables beside those of the container; the container's own win. Absent: none. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Content of the file. */
export interface TrysailFile {
  /** The first app whose image fits is taken. Absent: none. */
  readonly apps?: readonly TrysailApp[];
  /**
   * Files, folders and patterns (`*.yaml`), relative to the folder of the file, that are in force. Absent: the folder
   * with its subfolders.
   */
  readonly resources?: readonly string[];
}

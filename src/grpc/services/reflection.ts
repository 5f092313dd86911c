import type { DescFile, MessageInitShape } from "@bufbuild/protobuf";
import { toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { Server, ServerDuplexStream } from "@grpc/grpc-js";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import {
  ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponseSchema,
} from "../../proto/gen/grpc/reflection/v1/reflection_pb.ts";
import {
  ServerReflection as ServerReflectionAlpha,
  type ServerReflectionRequest as ServerReflectionAlphaRequest,
} from "../../proto/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { addService } from "../handlers.ts";
import type { Service } from "../service-definition.ts";

type Response = MessageInitShape<typeof ServerReflectionResponseSchema>;

/**
 * Serves grpc.reflection.v1.ServerReflection, and v1alpha, which says what these services are, and names those that are
 * relayed, of which only their own server knows more.
 */
export function addReflectionService(
  server: Server,
  services: readonly Service[],
  relayed: readonly string[],
): void {
  const all = [...services, ServerReflection, ServerReflectionAlpha];
  const names = [...new Set([...all.map(({ typeName }) => typeName), ...relayed])];
  const files = filesOf(all.map(({ file }) => file));
  const respond = (request: ServerReflectionRequest | ServerReflectionAlphaRequest): Response => ({
    validHost: request.host,
    originalRequest: { host: request.host, messageRequest: request.messageRequest } as never,
    messageResponse: responseTo(
      request.messageRequest as ServerReflectionRequest["messageRequest"],
      names,
      files,
    ),
  });
  const serve = (
    call: ServerDuplexStream<ServerReflectionRequest | ServerReflectionAlphaRequest, Response>,
  ) => {
    call.on("data", (request: ServerReflectionRequest) => call.write(respond(request)));
    call.on("end", () => call.end());
    // A client that went away; there is nobody left to tell.
    call.on("error", () => {});
  };
  addService(server, ServerReflection, { serverReflectionInfo: serve as never });
  addService(server, ServerReflectionAlpha, { serverReflectionInfo: serve as never });
}

function responseTo(
  request: ServerReflectionRequest["messageRequest"],
  services: readonly string[],
  files: ReadonlyMap<string, DescFile>,
): NonNullable<Response["messageResponse"]> {
  switch (request.case) {
    case "listServices":
      return {
        case: "listServicesResponse",
        value: { service: services.map((name) => ({ name })) },
      };
    case "fileByFilename": {
      const file = files.get(request.value);
      return file ? described(file) : failed(Code.NOT_FOUND, `there is no file ${request.value}`);
    }
    case "fileContainingSymbol": {
      const file = [...files.values()].find((each) => declares(each, request.value));
      return file ? described(file) : failed(Code.NOT_FOUND, `nothing is named ${request.value}`);
    }
    case "allExtensionNumbersOfType":
      return {
        case: "allExtensionNumbersResponse",
        value: { baseTypeName: request.value, extensionNumber: [] },
      };
    case "fileContainingExtension":
      return failed(Code.NOT_FOUND, "no extensions are used");
    case undefined:
      return failed(Code.INVALID_ARGUMENT, "the request asks for nothing");
  }
}

/** The files and all that they import, by name as imports have it. */
function filesOf(roots: readonly DescFile[]): Map<string, DescFile> {
  const files = new Map<string, DescFile>();
  const add = (file: DescFile): void => {
    if (!files.has(file.proto.name)) {
      files.set(file.proto.name, file);
      file.dependencies.forEach(add);
    }
  };
  roots.forEach(add);
  return files;
}

function declares(file: DescFile, name: string): boolean {
  const within = (parent: string): boolean => name === parent || name.startsWith(`${parent}.`);
  return [...file.messages, ...file.enums, ...file.services].some(({ typeName }) => within(typeName));
}

function described(file: DescFile): NonNullable<Response["messageResponse"]> {
  const fileDescriptorProto = [...filesOf([file]).values()].map(({ proto }) =>
    toBinary(FileDescriptorProtoSchema, proto),
  );
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}

function failed(errorCode: Code, errorMessage: string): NonNullable<Response["messageResponse"]> {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
}

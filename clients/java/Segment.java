import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import sedserve.v1.AutoContrast;
import sedserve.v1.Category;
import sedserve.v1.CategoryList;
import sedserve.v1.CategoryResult;
import sedserve.v1.Contrast;
import sedserve.v1.Image;
import sedserve.v1.MaskEncoding;
import sedserve.v1.ResizeMode;
import sedserve.v1.SegmentOptions;
import sedserve.v1.SegmentRequest;
import sedserve.v1.SegmentResponse;
import sedserve.v1.SegmentationServiceGrpc;
import sedserve.v1.Vocabulary;

/**
 * Segments one picture: sends it with a list of words, and writes the index map of the answer.
 *
 * <p>The map has 16 bits a pixel, little endian, row by row from the top: the position of a word in the list, or 65535
 * where no word fits.
 */
public final class Segment {
  private static final String USAGE =
      "usage: Segment [--top-k N] [--two-step] [--no-contrast] [--token TOKEN] HOST:PORT PICTURE MAP WORD[|SYNONYM]...";

  /** The largest answer that the server sends; gRPC's own limit is 4 MiB. */
  private static final int LARGEST_BYTES = 128 << 20;

  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private String token = "";
  private boolean contrast = true;
  private final SegmentOptions.Builder options =
      SegmentOptions.newBuilder().addMaskEncodings(MaskEncoding.MASK_ENCODING_RAW);
  private List<String> rest;

  public static void main(String[] arguments) throws IOException {
    Segment asked = new Segment();
    if (!asked.parse(arguments)) {
      System.err.println(USAGE);
      System.exit(2);
    }
    try {
      asked.segment();
    } catch (StatusRuntimeException error) {
      report(error);
      System.exit(1);
    }
  }

  /** Reads the command line; false where something is missing. */
  private boolean parse(String[] arguments) {
    int at = 0;
    for (; at < arguments.length && arguments[at].startsWith("--"); at++) {
      if (arguments[at].equals("--two-step")) {
        options.setResizeMode(ResizeMode.RESIZE_MODE_TWO_STEP);
      } else if (arguments[at].equals("--no-contrast")) {
        contrast = false;
      } else if (at + 1 < arguments.length && arguments[at].equals("--top-k")) {
        options.setTopK(Integer.parseInt(arguments[++at]));
      } else if (at + 1 < arguments.length && arguments[at].equals("--token")) {
        token = arguments[++at];
      } else {
        return false;
      }
    }
    rest = Arrays.asList(arguments).subList(at, arguments.length);
    return rest.size() >= 4;
  }

  private void segment() throws IOException {
    SegmentRequest request = request(Files.readAllBytes(Path.of(rest.get(1))), rest.subList(3, rest.size()));
    // Without TLS; for a server with certificates leave usePlaintext out, and name them by sslContext.
    ManagedChannel channel = NettyChannelBuilder.forTarget(rest.get(0)).usePlaintext().build();
    try {
      SegmentResponse answer = stub(channel).segment(request);
      for (CategoryResult category : answer.getCategoriesList()) {
        System.out.printf("%s: %d pixels, score %.2f%n", category.getName(), category.getPixels(), category.getMeanScore());
      }
      Files.write(Path.of(rest.get(2)), answer.getMasks(0).getRawIndices().toByteArray());
    } finally {
      channel.shutdownNow();
    }
  }

  private SegmentationServiceGrpc.SegmentationServiceBlockingStub stub(ManagedChannel channel) {
    // The deadline travels with the call: the server drops work that would be late.
    SegmentationServiceGrpc.SegmentationServiceBlockingStub stub =
        SegmentationServiceGrpc.newBlockingStub(channel)
            .withDeadlineAfter(60, TimeUnit.SECONDS)
            .withMaxInboundMessageSize(LARGEST_BYTES);
    if (token.isEmpty()) {
      return stub;
    }
    Metadata metadata = new Metadata();
    metadata.put(AUTHORIZATION, "Bearer " + token);
    return stub.withInterceptors(MetadataUtils.newAttachHeadersInterceptor(metadata));
  }

  private SegmentRequest request(byte[] picture, List<String> words) {
    CategoryList.Builder categories = CategoryList.newBuilder();
    for (String word : words) {
      List<String> phrases = Arrays.asList(word.split("\\|"));
      categories.addCategories(
          Category.newBuilder().setName(phrases.get(0)).addAllSynonyms(phrases.subList(1, phrases.size())));
    }
    Vocabulary.Builder vocabulary = Vocabulary.newBuilder().setCategories(categories);
    if (contrast) {
      // Words of the server's choice compete with these, and their pixels are unlabelled. Without them a few words
      // claim every pixel.
      vocabulary.setContrast(Contrast.newBuilder().setAutomatic(AutoContrast.getDefaultInstance()));
    }
    return SegmentRequest.newBuilder()
        .setImage(Image.newBuilder().setEncoded(ByteString.copyFrom(picture)))
        .setVocabulary(vocabulary)
        .setOptions(options)
        .build();
  }

  /** Prints an error of the server, with the google.rpc details that programs can act on. */
  private static void report(StatusRuntimeException error) throws InvalidProtocolBufferException {
    System.err.printf("%s: %s%n", error.getStatus().getCode(), error.getStatus().getDescription());
    com.google.rpc.Status status = StatusProto.fromThrowable(error);
    for (Any detail : status == null ? List.<Any>of() : status.getDetailsList()) {
      if (detail.is(ErrorInfo.class)) {
        System.err.println("reason: " + detail.unpack(ErrorInfo.class).getReason());
      } else if (detail.is(BadRequest.class)) {
        for (BadRequest.FieldViolation violation : detail.unpack(BadRequest.class).getFieldViolationsList()) {
          System.err.println("field: " + violation.getField() + ": " + violation.getDescription());
        }
      } else if (detail.is(RetryInfo.class)) {
        System.err.println("retry after: " + detail.unpack(RetryInfo.class).getRetryDelay().getSeconds() + " s");
      }
    }
  }
}

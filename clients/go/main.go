// Segments one picture: sends it with a list of words, and writes the index map of the answer.
//
// The map has 16 bits a pixel, little endian, row by row from the top: the position of a word in the list, or 65535 where
// no word fits.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	sedv1 "sed-serve/sed/v1"
)

const (
	usage        = "usage: segment [FLAG]... HOST:PORT PICTURE MAP WORD[|SYNONYM]..."
	timeout      = time.Minute
	largestBytes = 128 << 20 // the largest answer that the server sends; gRPC's own limit is 4 MiB
)

type question struct {
	address, picture, mapFile string
	words                     []string
	ca, token                 string
	topK                      int
	twoStep, noContrast       bool
}

func main() {
	asked, err := parse()
	if err == nil {
		err = segment(asked)
	}
	if err != nil {
		report(err)
		os.Exit(1)
	}
}

func parse() (question, error) {
	var asked question
	flag.StringVar(&asked.ca, "ca", "", "the certificates of authorities to trust, a PEM `file`; turns TLS on")
	flag.StringVar(&asked.token, "token", "", "the bearer `token` of the caller")
	flag.IntVar(&asked.topK, "top-k", -1, "categories that stay at each position; 0 turns rejection off")
	flag.BoolVar(&asked.twoStep, "two-step", false, "resize the picture as the official evaluation does")
	flag.BoolVar(&asked.noContrast, "no-contrast", false, "give every pixel to one of the words, however little it fits")
	flag.Parse()
	if flag.NArg() < 4 {
		return asked, errors.New(usage)
	}
	asked.address, asked.picture, asked.mapFile = flag.Arg(0), flag.Arg(1), flag.Arg(2)
	asked.words = flag.Args()[3:]
	return asked, nil
}

func segment(asked question) error {
	picture, err := os.ReadFile(asked.picture)
	if err != nil {
		return err
	}
	connection, err := connect(asked)
	if err != nil {
		return err
	}
	defer connection.Close()

	// The deadline travels with the call: the server drops work that would be late.
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if asked.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+asked.token)
	}
	answer, err := sedv1.NewSegmentationServiceClient(connection).Segment(ctx, request(asked, picture))
	if err != nil {
		return err
	}
	for _, category := range answer.Categories {
		fmt.Printf("%s: %d pixels, score %.2f\n", category.Name, category.Pixels, category.MeanScore)
	}
	return os.WriteFile(asked.mapFile, answer.Masks[0].GetRawIndices(), 0o644)
}

func connect(asked question) (*grpc.ClientConn, error) {
	security := grpc.WithInsecure() // grpc 1.43 and later: WithTransportCredentials(insecure.NewCredentials())
	if asked.ca != "" {
		authorities, err := credentials.NewClientTLSFromFile(asked.ca, "")
		if err != nil {
			return nil, err
		}
		security = grpc.WithTransportCredentials(authorities)
	}
	return grpc.Dial(asked.address, security, grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(largestBytes)))
}

func request(asked question, picture []byte) *sedv1.SegmentRequest {
	var categories []*sedv1.Category
	for _, word := range asked.words {
		phrases := strings.Split(word, "|")
		categories = append(categories, &sedv1.Category{Name: phrases[0], Synonyms: phrases[1:]})
	}
	options := &sedv1.SegmentOptions{MaskEncodings: []sedv1.MaskEncoding{sedv1.MaskEncoding_MASK_ENCODING_RAW}}
	if asked.topK >= 0 {
		topK := uint32(asked.topK)
		options.TopK = &topK
	}
	if asked.twoStep {
		options.ResizeMode = sedv1.ResizeMode_RESIZE_MODE_TWO_STEP
	}
	list := &sedv1.CategoryList{Categories: categories}
	vocabulary := &sedv1.Vocabulary{Source: &sedv1.Vocabulary_Categories{Categories: list}}
	if !asked.noContrast {
		// Words of the server's choice compete with these, and their pixels are unlabelled. Without them a few words
		// claim every pixel.
		vocabulary.Contrast = &sedv1.Contrast{Source: &sedv1.Contrast_Automatic{Automatic: &sedv1.AutoContrast{}}}
	}
	return &sedv1.SegmentRequest{
		Image:      &sedv1.Image{Source: &sedv1.Image_Encoded{Encoded: picture}},
		Vocabulary: vocabulary,
		Options:    options,
	}
}

// report prints an error, and of an error of the server the google.rpc details that programs can act on.
func report(err error) {
	failed, isStatus := status.FromError(err)
	if !isStatus {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fmt.Fprintf(os.Stderr, "%s: %s\n", failed.Code(), failed.Message())
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Fprintf(os.Stderr, "reason: %s\n", detail.Reason)
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fmt.Fprintf(os.Stderr, "field: %s: %s\n", violation.Field, violation.Description)
			}
		case *errdetails.RetryInfo:
			fmt.Fprintf(os.Stderr, "retry after: %s\n", detail.RetryDelay.AsDuration())
		}
	}
}
